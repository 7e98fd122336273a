use super::*;
use std::sync::Arc;
impl Policy {
    pub fn candidates(&self, origin: Origin) -> impl Iterator<Item = &Arc<Source>> {
        Client::new(origin).address().and_then(|a| self.source_of(a)).and_then(|i| self.source(i)).into_iter()
    }
}
impl Identified {
    pub fn matched(&self) -> Option<&crate::name::Identity> {
        None
    }
    pub fn captured(
        &self,
        original: std::net::SocketAddr,
        hello: &crate::tls::ClientHello,
        at: jiff::Timestamp,
        own: &OwnAddresses,
    ) -> Result<Admitted, Denial> {
        let _ = (original, own, hello);
        self.request(&format!("{original}").parse().unwrap(), at)
    }
}
