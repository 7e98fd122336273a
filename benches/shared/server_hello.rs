//! What a customer's server answers to a ClientHello.
//! Not here: what follows it, which is encrypted, so that the proxy cannot tell whether it is real. Source: RFC 8446 section 4.1.3.

/// Where the length of a hello's session id stands: behind the headers of record and message, the version and the random.
const SESSION_ID: usize = 43;

/// A ServerHello that answers it with TLS 1.3 and TLS_AES_128_GCM_SHA256, in one record.
pub fn server_hello(client: &[u8]) -> Vec<u8> {
    let (length, rest) = client.split_at(SESSION_ID).1.split_first().expect("a session id");
    let id = rest.split_at(usize::from(*length)).0;
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.push(*length);
    body.extend_from_slice(id);
    body.extend_from_slice(&[0x13, 0x01, 0, 0, 6, 0, 0x2b, 0, 2, 3, 4]);
    let length = u8::try_from(body.len()).expect("a short hello");
    [&[22, 3, 3, 0, length + 4, 2, 0, 0, length][..], &body].concat()
}
