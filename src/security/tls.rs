//! TLS, by rustls with ring's primitives: versions 1.2 and 1.3. Certificates and keys are PEM.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::{AlertDescription, CertificateError, InvalidMessage, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::error::{Error, Result};

/// What a client trusts, and shows of itself if a broker wants to know. Cheap to clone.
///
/// That the broker's certificate is for the name or address that was connected to is always
/// checked.
#[derive(Clone)]
pub struct ClientTls {
    verifier: Arc<dyn ServerCertVerifier>,
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Trusts the authorities that the system trusts.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the system has none that can be read.
    pub fn system() -> Result<Self> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let errors = found.errors.iter().map(ToString::to_string).collect::<Vec<_>>();
            let reason = match errors.is_empty() {
                true => "the system has no certificate authorities".to_owned(),
                false => errors.join("; "),
            };
            return Err(refused("the system's certificate authorities", reason));
        }
        ClientTls::with(roots)
    }

    /// Trusts these authorities only (`ssl.truststore.certificates`): one or more certificates, in
    /// PEM.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    pub fn trusting(ca_pem: impl AsRef<[u8]>) -> Result<Self> {
        ClientTls::with(authorities(ca_pem.as_ref())?)
    }

    /// The same, from a file (`ssl.ca.location`).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::InvalidConfig`].
    pub fn trusting_file(ca: impl AsRef<Path>) -> Result<Self> {
        let path = ca.as_ref();
        ClientTls::trusting(read(path)?).map_err(|error| in_file(path, error))
    }

    /// Shows this certificate to brokers that ask for one (`ssl.keystore.certificate.chain`,
    /// `ssl.keystore.key`): the chain, its own first, and its private key.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    pub fn identity(
        mut self,
        chain_pem: impl AsRef<[u8]>,
        key_pem: impl AsRef<[u8]>,
    ) -> Result<Self> {
        let (chain, key) = identity(chain_pem.as_ref(), key_pem.as_ref())?;
        let config = client_config(self.verifier.clone())?.with_client_auth_cert(chain, key);
        let config = config.map_err(|error| refused("certificate and key", error))?;
        self.config = Arc::new(config);
        Ok(self)
    }

    /// The same, from files.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::InvalidConfig`].
    pub fn identity_files(self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self> {
        let (chain_pem, key_pem) = (read(chain.as_ref())?, read(key.as_ref())?);
        self.identity(chain_pem, key_pem).map_err(|error| in_file(chain.as_ref(), error))
    }

    /// Expects certificates for this name, whatever the brokers' addresses are: for those behind a
    /// tunnel.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for what is neither a name nor an address.
    pub fn server_name(mut self, name: &str) -> Result<Self> {
        let parsed = ServerName::try_from(name.to_owned());
        self.server_name = Some(parsed.map_err(|error| refused("server name", error))?);
        Ok(self)
    }

    fn with(roots: RootCertStore) -> Result<Self> {
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let verifier = verifier.map_err(|error| refused("certificate authorities", error))?;
        let config = client_config(verifier.clone())?.with_no_client_auth();
        Ok(ClientTls { verifier, config: Arc::new(config), server_name: None })
    }

    /// TLS to `host`, over a stream to it.
    pub(crate) async fn connect<S>(&self, host: &str, stream: S) -> io::Result<client::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
        };
        TlsConnector::from(self.config.clone()).connect(name, stream).await
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// What a listener shows of itself, and whether clients have to show something, too. Cheap to
/// clone.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// Kept for [`ServerTls::require_clients`], which makes another of it.
    parts: Arc<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    knows_clients: bool,
}

impl ServerTls {
    /// Shows this certificate (`ssl.keystore.certificate.chain`, `ssl.keystore.key`): the chain,
    /// its own first, and its private key, both in PEM.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    pub fn new(chain_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Result<Self> {
        let parts = Arc::new(identity(chain_pem.as_ref(), key_pem.as_ref())?);
        let config = server_config()?.with_no_client_auth();
        let config = config.with_single_cert(parts.0.clone(), parts.1.clone_key());
        let config = config.map_err(|error| refused("certificate and key", error))?;
        Ok(ServerTls { config: Arc::new(config), parts, knows_clients: false })
    }

    /// The same, from files.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::InvalidConfig`].
    pub fn from_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self> {
        let (chain_pem, key_pem) = (read(chain.as_ref())?, read(key.as_ref())?);
        ServerTls::new(chain_pem, key_pem).map_err(|error| in_file(chain.as_ref(), error))
    }

    /// Serves only clients that show a certificate by one of these authorities
    /// (`ssl.client.auth=required`), in PEM.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`].
    pub fn require_clients(self, ca_pem: impl AsRef<[u8]>) -> Result<Self> {
        let roots = Arc::new(authorities(ca_pem.as_ref())?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
        let verifier = verifier.map_err(|error| refused("certificate authorities", error))?;
        let config = server_config()?.with_client_cert_verifier(verifier);
        let config = config.with_single_cert(self.parts.0.clone(), self.parts.1.clone_key());
        let config = config.map_err(|error| refused("certificate and key", error))?;
        Ok(ServerTls { config: Arc::new(config), knows_clients: true, ..self })
    }

    /// The same, from a file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::InvalidConfig`].
    pub fn require_clients_file(self, ca: impl AsRef<Path>) -> Result<Self> {
        let path = ca.as_ref();
        self.require_clients(read(path)?).map_err(|error| in_file(path, error))
    }

    /// Whether clients have to show who they are.
    pub(crate) fn knows_clients(&self) -> bool {
        self.knows_clients
    }

    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<server::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.config.clone()).accept(stream).await
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("knows_clients", &self.knows_clients)
            .finish_non_exhaustive()
    }
}

/// Why one end does not believe the other, if that is what an error says: trying again helps
/// nobody.
pub(crate) fn distrust(error: &io::Error) -> Option<String> {
    use AlertDescription as Alert;
    let reason = match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer => {
                "its certificate is by no authority that is trusted here".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name".to_owned()
            }
            // That of the library below has no type here.
            error if format!("{error:?}").contains("CaUsedAsEndEntity") => {
                "its certificate is an authority's own (basicConstraints CA:TRUE), which can't be \
                 a server's or a client's: have the authority sign one without"
                    .to_owned()
            }
            error => format!("its certificate: {error}"),
        },
        rustls::Error::NoCertificatesPresented => "it shows no certificate".to_owned(),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS".to_owned()
        }
        rustls::Error::AlertReceived(Alert::CertificateRequired) => {
            "it wants a certificate of this client".to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError),
        ) => format!("it does not accept this side's certificate ({alert:?})"),
        _ => return None,
    };
    Some(reason)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
    let config =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = config.map_err(|error| refused("TLS", error))?;
    // "Dangerous" would be one that believes everybody; this is rustls's own.
    Ok(config.dangerous().with_custom_certificate_verifier(verifier))
}

fn server_config() -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>> {
    let config =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    config.map_err(|error| refused("TLS", error))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| refused("certificate", error))?;
    match all.is_empty() {
        true => Err(refused("certificate", "there is no CERTIFICATE in the PEM")),
        false => Ok(all),
    }
}

fn authorities(pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| refused("certificate authority", error))?;
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(chain_pem: &[u8], key_pem: &[u8]) -> Result<Identity> {
    let key = PrivateKeyDer::from_pem_slice(key_pem);
    Ok((certificates(chain_pem)?, key.map_err(|error| refused("private key", error))?))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::io(format!("reading {}", path.display()), error))
}

fn refused(name: &str, reason: impl ToString) -> Error {
    Error::InvalidConfig { name: name.to_owned(), reason: reason.to_string() }
}

fn in_file(path: &Path, error: Error) -> Error {
    match error {
        Error::InvalidConfig { name, reason } => {
            Error::InvalidConfig { name: format!("{name} ({})", path.display()), reason }
        }
        error => error,
    }
}
