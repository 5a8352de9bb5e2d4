package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"math/big"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	testclock "k8s.io/utils/clock/testing"

	"github.com/keyturn/keyturn/internal/revocation"
)

// noon is the time of every test, and the second at which its tokens are issued.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const issuerURL = "https://tokens.example.com/shop"

// signers are the private keys by algorithm; the algorithm is the key id too. They follow from fixed seeds, because the
// processes of a fuzz test must agree on them.
var signers = map[jose.SignatureAlgorithm]any{
	jose.ES256: fixedECDSA(elliptic.P256()),
	jose.ES384: fixedECDSA(elliptic.P384()),
	jose.ES512: fixedECDSA(elliptic.P521()),
	jose.EdDSA: ed25519.NewKeyFromSeed(fixedBytes("ed25519", ed25519.SeedSize)),
	jose.RS256: fixedRSA,
	jose.PS256: fixedRSA,
	jose.HS256: fixedBytes("hmac", 32),
}

var fixedRSA = newFixedRSA()

// hashes are those of the algorithms that sign a hash.
var hashes = map[jose.SignatureAlgorithm]crypto.Hash{
	jose.ES256: crypto.SHA256, jose.ES384: crypto.SHA384, jose.ES512: crypto.SHA512,
	jose.RS256: crypto.SHA256, jose.PS256: crypto.SHA256,
}

// world is an issuer with a key for each algorithm, and all that a verifier needs.
type world struct {
	issuer    *Issuer
	synced    bool
	directory map[string]*Issuer
	clock     *testclock.FakePassiveClock
}

func (w *world) Synced() bool             { return w.synced }
func (w *world) ByURL(url string) *Issuer { return w.directory[url] }

func newWorld() *world {
	issuer := &Issuer{
		Namespace: "shop", Name: "tokens", URL: issuerURL,
		Keys:        map[string]*Key{},
		Audiences:   []string{"shop-api"},
		Types:       []string{"at+jwt", "jwt", ""},
		ClockSkew:   30 * time.Second,
		GroupsClaim: "groups",
		Revocations: revocation.NewIndex(),
	}
	for algorithm := range signers {
		issuer.Keys[string(algorithm)] = newKey(algorithm)
	}
	return &world{
		issuer: issuer, synced: true, directory: map[string]*Issuer{issuerURL: issuer},
		clock: testclock.NewFakePassiveClock(noon),
	}
}

// change replaces the issuer's snapshot by a changed one, as the registry does.
func (w *world) change(edit func(*Issuer)) {
	next := *w.issuer
	next.Keys = maps.Clone(next.Keys)
	edit(&next)
	w.issuer = &next
	w.directory[issuerURL] = &next
}

func (w *world) verifier() *Verifier { return NewVerifier(w, w.clock, Options{}) }

func newKey(algorithm jose.SignatureAlgorithm) *Key {
	return &Key{
		ID: string(algorithm), Algorithms: []jose.SignatureAlgorithm{algorithm},
		Public: publicOf(signers[algorithm]), MaxLifetime: 15 * time.Minute,
	}
}

func publicOf(private any) any {
	if private, ok := private.(crypto.Signer); ok {
		return private.Public()
	}
	return private
}

// fields are the members of a header or a payload. A nil value is the JSON null; absent leaves the member out.
type fields map[string]any

type absentType struct{}

var absent absentType

func (f fields) with(changes fields) fields {
	all := maps.Clone(f)
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == any(absent) })
	return all
}

func (f fields) json(t testing.TB) string {
	t.Helper()
	document, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(document)
}

func goodHeader(algorithm jose.SignatureAlgorithm) fields {
	return fields{"alg": string(algorithm), "kid": string(algorithm), "typ": "at+jwt"}
}

func goodClaims() fields {
	return fields{
		"iss": issuerURL, "sub": "alice", "aud": []string{"shop-api", "mail-api"}, "exp": noon.Unix() + 600,
		"nbf": noon.Unix(), "iat": noon.Unix(), "jti": "jti-1", "client_id": "web", "sid": "sid-1",
		"scope": "orders:read orders:write", "groups": []string{"buyers", "staff"},
	}
}

func goodToken(t testing.TB, algorithm jose.SignatureAlgorithm) string {
	t.Helper()
	return signed(t, algorithm, goodHeader(algorithm).json(t), goodClaims().json(t))
}

func segment(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// signed makes a token of any header and payload with the key for the algorithm, whatever the header says.
func signed(t testing.TB, algorithm jose.SignatureAlgorithm, header, payload string) string {
	t.Helper()
	text := segment(header) + "." + segment(payload)
	return text + "." + segment(string(signature(t, algorithm, []byte(text))))
}

func signature(t testing.TB, algorithm jose.SignatureAlgorithm, text []byte) []byte {
	t.Helper()
	var sum []byte
	if hash, ok := hashes[algorithm]; ok {
		sum = hashed(hash, text)
	}
	var made []byte
	var err error
	switch private := signers[algorithm].(type) {
	case *ecdsa.PrivateKey:
		size := (private.Curve.Params().BitSize + 7) / 8
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, private, sum); err == nil {
			made = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	case ed25519.PrivateKey:
		made = ed25519.Sign(private, text)
	case *rsa.PrivateKey:
		if algorithm == jose.PS256 {
			made, err = rsa.SignPSS(rand.Reader, private, crypto.SHA256, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			made, err = rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum)
		}
	case []byte:
		made = hmacSHA256(private, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func hashed(hash crypto.Hash, text []byte) []byte {
	h := hash.New()
	h.Write(text)
	return h.Sum(nil)
}

func hmacSHA256(secret, text []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write(text)
	return mac.Sum(nil)
}

func digestOf(raw string) digest { return sha256.Sum256([]byte(raw)) }

// fixedBytes are as good as random, and the same in every process.
func fixedBytes(label string, size int) []byte {
	var out []byte
	for i := uint32(0); len(out) < size; i++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint32([]byte(label), i))
		out = append(out, sum[:]...)
	}
	return out[:size]
}

func fixedECDSA(curve elliptic.Curve) *ecdsa.PrivateKey {
	params := curve.Params()
	scalar := fixedBytes(params.Name, (params.BitSize+7)/8)
	scalar[0] = 0 // below the order of the curve
	private, err := ecdsa.ParseRawPrivateKey(curve, scalar)
	if err != nil {
		panic(err)
	}
	return private
}

func newFixedRSA() *rsa.PrivateKey {
	p, q := fixedPrime("rsa p"), fixedPrime("rsa q")
	one := big.NewInt(1)
	e := big.NewInt(65537)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	private := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: int(e.Int64())},
		D:         new(big.Int).ModInverse(e, phi),
		Primes:    []*big.Int{p, q},
	}
	private.Precompute()
	if err := private.Validate(); err != nil {
		panic(err)
	}
	return private
}

// fixedPrime returns a prime of 1024 bits with the two highest set.
func fixedPrime(label string) *big.Int {
	bytes := fixedBytes(label, 128)
	bytes[0] |= 0xc0
	bytes[127] |= 1
	candidate := new(big.Int).SetBytes(bytes)
	for !candidate.ProbablyPrime(20) {
		candidate.Add(candidate, big.NewInt(2))
	}
	return candidate
}
