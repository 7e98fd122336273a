//! The metrics of certificates and of lists of revoked ones: when they end.
//! Not here: other metrics (`metrics`), reading the files (`admin`, `entrance`).

use jiff::Timestamp;
use prometheus::{GaugeVec, Registry};

use super::gauges;

/// When what the proxy shows and judges by ends.
pub struct CertificateMetrics {
    /// `sallyport_certificate_expiry_timestamp_seconds{name}`
    expiry: GaugeVec,
    /// `sallyport_crl_next_update_timestamp_seconds{listener}`
    crl: GaugeVec,
}

impl CertificateMetrics {
    /// One of the proxy's certificates, by what it is for; `None`: there is none.
    pub fn set_expiry(&self, name: &str, expires: Option<Timestamp>) {
        if let Some(expires) = expires {
            self.expiry.with_label_values(&[name]).set(expires.as_second() as f64);
        }
    }

    /// The lists of a listener.
    pub fn set_crl(&self, listener: &str, next_update: Timestamp) {
        self.crl.with_label_values(&[listener]).set(next_update.as_second() as f64);
    }

    /// None yet.
    pub(super) fn new(r: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            expiry: gauges(
                r,
                "certificate_expiry_timestamp_seconds",
                "When a certificate of the proxy ends.",
                &["name"],
            )?,
            crl: gauges(
                r,
                "crl_next_update_timestamp_seconds",
                "When the first of a listener's lists of revoked certificates is past its next update.",
                &["listener"],
            )?,
        })
    }
}
