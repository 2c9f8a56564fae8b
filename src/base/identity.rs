//! Who stands at the other end of a connection, as far as a certificate says.

use crate::base::NodeId;

/// What a certificate that was found good names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its subject, in the words of RFC 2253: `CN=ann,O=acme`.
    pub subject: String,
    /// The nodes that it may speak for.
    pub nodes: Vec<NodeId>,
}
