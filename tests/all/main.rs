//! Everything from outside: the real binary, real sockets on loopback, real clients and servers, the sources themselves.
//! One binary with modules, so that it links once.

#[cfg(test)]
mod harness;
#[cfg(test)]
mod heads;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod structure;
