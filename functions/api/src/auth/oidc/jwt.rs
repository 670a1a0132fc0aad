//! JSON Web Tokens: made by whom, for whom, and valid at this moment. ring checks the signatures, as it does for TLS.

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtVerifier};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Header, Validation};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a token says.
pub type Claims = Map<String, Value>;
/// Why a token is refused, for who sent it.
pub type Why = &'static str;

/// Who has the key for one of these can check a signature and not make one.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
/// How far two clocks may be apart, in seconds.
const LEEWAY: u64 = 60;
const OTHER_ISSUER: Why = "another issuer made it";

/// Reads how a token says it is signed.
pub fn header(token: &str) -> Result<Header, Why> {
    let header = jsonwebtoken::decode_header(token).map_err(|error| why(&error))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err("its algorithm is not RS256, PS256, ES256 or EdDSA");
    }
    // What has to be understood is not.
    if header.crit.is_some() {
        return Err("it has critical parameters");
    }
    Ok(header)
}

/// The public keys of an issuer.
pub struct Keys(Vec<Jwk>);

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Keys {
    /// Reads a key set (RFC 7517); keys of kinds that are not known are passed over.
    pub fn read(set: &[u8]) -> Result<Self, serde_json::Error> {
        let KeySet { keys } = serde_json::from_slice(set)?;
        Ok(Self(keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect()))
    }

    /// The key that a token says it is signed with.
    pub fn find(&self, header: &Header) -> Option<&Jwk> {
        let mut fitting = self.0.iter().filter(|key| is_for(key, header.alg));
        match &header.kid {
            Some(name) => fitting.find(|key| key.common.key_id.as_ref() == Some(name)),
            // An issuer with one key need not name it.
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }
}

/// Whether a key is for signatures of an algorithm.
fn is_for(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_of_kind = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::RS256 | Algorithm::PS256) => true,
        (AlgorithmParameters::EllipticCurve(point), Algorithm::ES256) => point.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(point), Algorithm::EdDSA) => point.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    let is_said = matches!(
        (key.common.key_algorithm, algorithm),
        (None, _)
            | (Some(KeyAlgorithm::RS256), Algorithm::RS256)
            | (Some(KeyAlgorithm::PS256), Algorithm::PS256)
            | (Some(KeyAlgorithm::ES256), Algorithm::ES256)
            | (Some(KeyAlgorithm::EdDSA), Algorithm::EdDSA)
    );
    let signs = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
    is_of_kind && is_said && signs
}

/// What a token says, if the issuer signed it with this key for this audience, and it is valid at this moment.
pub fn claims(token: &str, header: &Header, key: &Jwk, issuer: &str, audience: &str) -> Result<Claims, Why> {
    // Somebody else has been here before: it is the same one.
    let _ = RING.install_default();
    let mut wanted = Validation::new(header.alg);
    wanted.leeway = LEEWAY;
    wanted.validate_nbf = true;
    wanted.set_issuer(&[issuer]);
    wanted.set_audience(&[audience]);
    wanted.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let key = DecodingKey::from_jwk(key).map_err(|error| why(&error))?;
    let read = jsonwebtoken::decode::<Claims>(token, &key, &wanted).map_err(|error| why(&error))?;
    // The library also takes a list of issuers.
    if read.claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err(OTHER_ISSUER);
    }
    Ok(read.claims)
}

fn why(error: &Error) -> Why {
    match error.kind() {
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidIssuer => OTHER_ISSUER,
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::InvalidSignature => "its signature is not valid",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
            "exp, nbf, iss, aud or sub is missing or malformed"
        }
        _ => "it is malformed",
    }
}

/// The cryptography behind the library. It can check signatures, no more.
static RING: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::InvalidAlgorithm)),
    verifier_factory: verifier,
    jwk_utils: JwkUtils::new_unimplemented(),
};

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if algorithm.family() != key.family() {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    Ok(Box::new(ByRing { algorithm: *algorithm, key: key.clone() }))
}

struct ByRing {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for ByRing {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let rsa = |parameters: &RsaParameters, n: &[u8], e: &[u8]| {
            RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
        };
        let verified = match (self.algorithm, self.key.kind()) {
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => rsa(&RSA_PKCS1_2048_8192_SHA256, n, e),
            (Algorithm::PS256, DecodingKeyKind::RsaModulusExponent { n, e }) => rsa(&RSA_PSS_2048_8192_SHA256, n, e),
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            _ => return Err(SignatureError::new()),
        };
        verified.map_err(|_| SignatureError::new())
    }
}

#[cfg(test)]
pub mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    pub const ISSUER: &str = "https://idp.example";
    pub const AUDIENCE: &str = "conductor-api";
    /// A time that no test sees.
    pub const FAR: u64 = 4_102_444_800;

    /// An issuer's key.
    pub struct Signer {
        name: String,
        pair: Ed25519KeyPair,
    }

    impl Signer {
        pub fn new(name: &str) -> Self {
            let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
            let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key");
            Self { name: name.to_owned(), pair }
        }

        pub fn jwk(&self) -> Value {
            let x = encoded(self.pair.public_key().as_ref());
            json!({"kty": "OKP", "crv": "Ed25519", "kid": self.name, "use": "sig", "alg": "EdDSA", "x": x})
        }

        pub fn token(&self, claims: &Value) -> String {
            self.signed(&json!({"alg": "EdDSA", "kid": self.name}), claims)
        }

        fn signed(&self, header: &Value, claims: &Value) -> String {
            let message = message(header, claims);
            let signature = self.pair.sign(message.as_bytes());
            format!("{message}.{}", encoded(signature.as_ref()))
        }
    }

    fn encoded(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn message(header: &Value, claims: &Value) -> String {
        format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()))
    }

    fn good() -> Value {
        json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": FAR})
    }

    /// The claims with some members changed.
    fn with(changes: Value) -> Value {
        let mut claims = good();
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        claims
    }

    fn without(name: &str) -> Value {
        let mut claims = good();
        claims.as_object_mut().expect("an object").remove(name);
        claims
    }

    fn keys(keys: &[Value]) -> Keys {
        Keys::read(json!({"keys": keys}).to_string().as_bytes()).expect("keys")
    }

    /// What comes of a token.
    fn read(token: &str, keys: &Keys) -> Result<Claims, Why> {
        let header = header(token)?;
        let key = keys.find(&header).ok_or("no key")?;
        claims(token, &header, key, ISSUER, AUDIENCE)
    }

    #[test]
    fn a_token_of_the_issuer_for_us_is_taken_and_no_other() {
        let signer = Signer::new("k1");
        let keys = keys(&[signer.jwk()]);
        let check = |claims: Value, expect: Result<(), Why>| {
            assert_eq!(read(&signer.token(&claims), &keys).map(|_| ()), expect, "{claims}");
        };
        check(good(), Ok(()));
        check(with(json!({"aud": ["other", AUDIENCE]})), Ok(()));
        check(with(json!({"nbf": 1})), Ok(()));
        check(with(json!({"exp": 1})), Err("it has expired"));
        check(with(json!({"nbf": FAR})), Err("it is not valid yet"));
        check(with(json!({"nbf": "later"})), Err("exp, nbf, iss, aud or sub is missing or malformed"));
        check(with(json!({"exp": "4102444800"})), Err("exp, nbf, iss, aud or sub is missing or malformed"));
        check(with(json!({"iss": "https://evil.example"})), Err(OTHER_ISSUER));
        check(with(json!({"iss": format!("{ISSUER}/")})), Err(OTHER_ISSUER));
        check(with(json!({"iss": [ISSUER, "https://evil.example"]})), Err(OTHER_ISSUER));
        check(with(json!({"aud": "other"})), Err("it is for another audience"));
        check(with(json!({"aud": []})), Err("it is for another audience"));
        for name in ["exp", "iss", "aud", "sub"] {
            check(without(name), Err("exp, nbf, iss, aud or sub is missing or malformed"));
        }
    }

    #[test]
    fn what_was_changed_on_its_way_is_refused() {
        let (signer, other) = (Signer::new("k1"), Signer::new("k1"));
        let keys = keys(&[signer.jwk()]);
        let token = signer.token(&good());
        let (signed, signature) = token.rsplit_once('.').expect("a signature");
        let another = message(&json!({"alg": "EdDSA", "kid": "k1"}), &with(json!({"sub": "eve"})));
        let check = |token: &str, expect: Why| assert_eq!(read(token, &keys), Err(expect), "{token}");
        check(&format!("{another}.{signature}"), "its signature is not valid");
        check(&other.token(&good()), "its signature is not valid");
        check(&format!("{signed}."), "its signature is not valid");
        check(signed, "it is malformed");
        check("", "it is malformed");
        check("a.b.c", "it is malformed");
        check(&format!("{token}.x"), "it is malformed");
    }

    #[test]
    fn an_algorithm_that_proves_nothing_is_refused() {
        let signer = Signer::new("k1");
        let public = signer.pair.public_key().as_ref().to_vec();
        let keys = keys(&[signer.jwk(), json!({"kty": "oct", "kid": "k1", "k": encoded(&public)})]);
        let none = message(&json!({"alg": "none", "kid": "k1"}), &good());
        assert_eq!(read(&format!("{none}."), &keys), Err("it is malformed"));
        // The public key taken for a shared one.
        let symmetric = message(&json!({"alg": "HS256", "kid": "k1"}), &good());
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &public);
        let tag = encoded(ring::hmac::sign(&key, symmetric.as_bytes()).as_ref());
        let expect = Err("its algorithm is not RS256, PS256, ES256 or EdDSA");
        assert_eq!(read(&format!("{symmetric}.{tag}"), &keys), expect);
        let mixed = signer.signed(&json!({"alg": "RS256", "kid": "k1"}), &good());
        assert_eq!(read(&mixed, &keys), Err("no key"));
        let critical = signer.signed(&json!({"alg": "EdDSA", "kid": "k1", "crit": ["b64"]}), &good());
        assert_eq!(read(&critical, &keys), Err("it has critical parameters"));
    }

    #[test]
    fn a_key_is_taken_by_its_name_and_for_what_it_is() {
        let (first, second) = (Signer::new("k1"), Signer::new("k2"));
        let both = keys(&[first.jwk(), second.jwk()]);
        let unnamed = first.signed(&json!({"alg": "EdDSA"}), &good());
        assert!(read(&first.token(&good()), &both).is_ok());
        assert!(read(&second.token(&good()), &both).is_ok());
        assert_eq!(read(&Signer::new("k3").token(&good()), &both), Err("no key"));
        assert_eq!(read(&unnamed, &both), Err("no key"));
        assert!(read(&unnamed, &keys(&[first.jwk()])).is_ok());
        for (name, value) in [("use", "enc"), ("alg", "RS256"), ("alg", "ECDH-ES"), ("crv", "P-256")] {
            let mut jwk = first.jwk();
            jwk[name] = json!(value);
            assert_eq!(read(&first.token(&good()), &keys(&[jwk])), Err("no key"), "{name} {value}");
        }
        // A kind that nobody here knows hides no other.
        let odd = json!({"kty": "EC", "crv": "secp256k1", "kid": "k0", "x": "AA", "y": "AA"});
        assert!(read(&first.token(&good()), &keys(&[odd, first.jwk()])).is_ok());
    }

    #[test]
    fn elliptic_curves_are_known() {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).expect("a key");
        let point = pair.public_key().as_ref();
        let (x, y) = (encoded(&point[1..33]), encoded(&point[33..]));
        let keys = keys(&[json!({"kty": "EC", "crv": "P-256", "kid": "k1", "x": x, "y": y})]);
        let message = message(&json!({"alg": "ES256", "kid": "k1"}), &good());
        let signature = pair.sign(&random, message.as_bytes()).expect("a signature");
        let token = format!("{message}.{}", encoded(signature.as_ref()));
        assert!(read(&token, &keys).is_ok());
        let mut wrong = signature.as_ref().to_vec();
        wrong[0] ^= 1;
        assert_eq!(read(&format!("{message}.{}", encoded(wrong)), &keys), Err("its signature is not valid"));
    }

    #[test]
    fn rsa_is_known() {
        let fixture: Value = serde_json::from_str(include_str!("rsa.json")).expect("JSON");
        let keys = keys(&[fixture["jwk"].clone()]);
        for algorithm in ["RS256", "PS256"] {
            let token = fixture[algorithm].as_str().expect("a token");
            assert!(read(token, &keys).is_ok(), "{algorithm}");
        }
        // The same signature does not do for the other of the two.
        let (message, _) = fixture["PS256"].as_str().and_then(|token| token.rsplit_once('.')).expect("a token");
        let (_, signature) = fixture["RS256"].as_str().and_then(|token| token.rsplit_once('.')).expect("a token");
        assert_eq!(read(&format!("{message}.{signature}"), &keys), Err("its signature is not valid"));
    }
}
