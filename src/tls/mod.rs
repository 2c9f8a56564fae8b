//! Certificates: read from files, checked, and made into what rustls wants, for doors, peers, clients and tools.
//!
//! A node shows one certificate everywhere. To its peers it proves its id by a name in it, `node-3.quorate`, so that
//! a client's certificate of the same authority cannot speak as a node; `*.quorate` speaks for all of them.

mod name;
mod socket;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme};

use crate::base::{Identity, NodeId};

pub use socket::Socket;

/// A file that is of no use: which, why, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {why}", file = .file.display())]
pub struct BadTls {
    pub file: PathBuf,
    pub why: String,
}

/// PEM files: the own certificate (with intermediates behind it), its key, and whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

/// What the files held.
pub struct Papers {
    paths: Paths,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

/// The name by which a node's certificate proves its id.
pub fn node_name(id: NodeId) -> String {
    format!("node-{id}.quorate")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn bad(file: &Path, why: impl Into<String>) -> BadTls {
    BadTls { file: file.to_owned(), why: why.into() }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(bad(file, "it holds no certificate in PEM form")),
        Ok(found) => Ok(found),
        Err(why) => Err(bad(file, format!("no certificates can be read: {why}"))),
    }
}

fn trusted(file: &Path) -> Result<Arc<RootCertStore>, BadTls> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|e| bad(file, format!("no authority's certificate: {e}")))?;
    }
    Ok(Arc::new(roots))
}

impl Papers {
    /// Reads the files, and sees that they belong together and are good today.
    pub fn load(paths: &Paths) -> Result<Papers, BadTls> {
        let key = PrivateKeyDer::from_pem_file(&paths.key)
            .map_err(|why| bad(&paths.key, format!("no private key can be read: {why}")))?;
        let (chain, roots) = (certificates(&paths.cert)?, trusted(&paths.ca)?);
        let papers = Papers { paths: paths.clone(), chain, key, roots };
        verify(&papers.chain[0], &papers.chain[1..], &papers.roots, UnixTime::now()).map_err(|why| {
            let ca = paths.ca.display();
            bad(
                &paths.cert,
                format!("not good by the authority in {ca}: {}; have it issue another", words(&why)),
            )
        })?;
        papers.server(true)?;
        papers.client()?;
        Ok(papers)
    }

    /// The nodes that this certificate may speak for.
    pub fn nodes(&self) -> Vec<NodeId> {
        nodes(&self.chain[0])
    }

    /// For a door. `required`: a client without a certificate is turned away.
    pub fn server(&self, required: bool) -> Result<Arc<ServerConfig>, BadTls> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider());
        let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
        let verifier = verifier.build().map_err(|e| bad(&self.paths.ca, e.to_string()))?;
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(&self.paths.cert, e.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key());
        let mut config = config.map_err(|e| self.mismatch(&e))?;
        // Nothing is kept of a connection that has ended, and nothing sent that was not asked for.
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// For dialling peers: whoever answers must be a node of this authority; which one, the stage asks.
    pub fn client(&self) -> Result<Arc<ClientConfig>, BadTls> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(&self.paths.cert, e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyNode {
                roots: self.roots.clone(),
                provider: provider(),
            }))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key());
        let mut config = config.map_err(|e| self.mismatch(&e))?;
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(Arc::new(config))
    }

    fn mismatch(&self, why: &Error) -> BadTls {
        let cert = self.paths.cert.display();
        bad(&self.paths.key, format!("not the key of the certificate in {cert}: {why}"))
    }
}

/// For whoever speaks to doors: `ca` vouches for the servers, `own` (certificate and key) for the client.
pub fn client(ca: &Path, own: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, BadTls> {
    let verifier = WebPkiServerVerifier::builder_with_provider(trusted(ca)?, provider());
    let verifier = verifier.build().map_err(|e| bad(ca, e.to_string()))?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(ca, e.to_string()))?
        .with_webpki_verifier(verifier);
    let Some((cert, key)) = own else { return Ok(Arc::new(config.with_no_client_auth())) };
    let read = PrivateKeyDer::from_pem_file(key);
    let secret = read.map_err(|why| bad(key, format!("no private key can be read: {why}")))?;
    let config = config.with_client_auth_cert(certificates(cert)?, secret);
    Ok(Arc::new(config.map_err(|e| bad(key, format!("not the key of {}: {e}", cert.display())))?))
}

/// Whom the certificate names that the other side has shown and proven.
pub fn identity(shown: Option<&[CertificateDer<'static>]>) -> Option<Arc<Identity>> {
    let own = shown?.first()?;
    let mut subject = RootCertStore::empty();
    let _ = subject.add(own.clone()); // Reads its subject; trusts nobody.
    let subject = subject.roots.first().and_then(|read| name::rfc2253(&read.subject)).unwrap_or_default();
    Some(Arc::new(Identity { subject, nodes: nodes(own) }))
}

fn nodes(certificate: &CertificateDer<'_>) -> Vec<NodeId> {
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return Vec::new() };
    let speaks = |id: &NodeId| {
        let name = ServerName::try_from(node_name(*id)).expect("a name of letters, digits and dots");
        rustls::client::verify_server_name(&parsed, &name).is_ok()
    };
    (1..=u8::MAX).map(NodeId).filter(speaks).collect()
}

fn verify(
    certificate: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now: UnixTime,
) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let known = provider().signature_verification_algorithms.all;
    rustls::client::verify_server_cert_signed_by_trust_anchor(&parsed, roots, between, now, known)
}

/// rustls' word for it, with what people call it.
pub fn words(why: &Error) -> String {
    use rustls::CertificateError as Certificate;
    match why {
        Error::InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "the certificate has expired".into()
        }
        Error::InvalidCertificate(Certificate::UnknownIssuer) => "another authority has issued it".into(),
        Error::NoCertificatesPresented => "no certificate was shown".into(),
        Error::InvalidMessage(_) => format!("what came is not TLS ({why})"),
        why => why.to_string(),
    }
}

/// Trusts any node of the authority.
#[derive(Debug)]
struct AnyNode {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        verify(end_entity, intermediates, &self.roots, now)?;
        match nodes(end_entity).is_empty() {
            false => Ok(ServerCertVerified::assertion()),
            true => Err(Error::General("the certificate names no node, such as node-1.quorate".into())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
