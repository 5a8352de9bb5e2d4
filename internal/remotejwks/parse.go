package remotejwks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/keyturn/keyturn/internal/token"
)

const (
	// maxKeys is how many keys a document may hold, usable or not.
	maxKeys = 100
	// maxKeyID is the length of the longest key id, in bytes: what a TokenRevocation can name.
	maxKeyID = 256
	// minRSABits is the smallest modulus (RFC 7518 section 3.3). go-jose refuses more than 4096 bits.
	minRSABits = 2048
)

// jwk has the members of a JWK (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2) that decide whether and how
// it verifies. Certificates are left out on purpose: the key is trusted because of the server that it was read from.
type jwk struct {
	public
	KeyID      string    `json:"kid"`
	Use        string    `json:"use"`
	Operations *[]string `json:"key_ops"`
	Algorithm  string    `json:"alg"`
	// The secret members of every key type: that one is there is all that is asked.
	K    json.RawMessage `json:"k"`
	D    json.RawMessage `json:"d"`
	P    json.RawMessage `json:"p"`
	Q    json.RawMessage `json:"q"`
	DP   json.RawMessage `json:"dp"`
	DQ   json.RawMessage `json:"dq"`
	QI   json.RawMessage `json:"qi"`
	Oth  json.RawMessage `json:"oth"`
	Priv json.RawMessage `json:"priv"`
}

// public has the members of a public key and no others.
type public struct {
	Type  string `json:"kty"`
	Curve string `json:"crv,omitempty"`
	X     string `json:"x,omitempty"`
	Y     string `json:"y,omitempty"`
	N     string `json:"n,omitempty"`
	E     string `json:"e,omitempty"`
}

// parseSet reads a JWK Set (RFC 7517 section 5). Keys that cannot be used are left out, with a sentence in skipped; a
// document without any usable key is an error. Keys come out with the algorithms that they may verify.
func parseSet(document []byte, source Source) (keys map[string]*token.Key, skipped []string, err error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, nil, fmt.Errorf("the answer is not a JWK Set (RFC 7517 section 5): %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("the JWK Set has %d keys, more than the %d that are accepted", len(set.Keys), maxKeys)
	}
	keys = make(map[string]*token.Key, len(set.Keys))
	for i, raw := range set.Keys {
		key, err := parseKey(raw, source)
		if err == nil && keys[key.ID] != nil {
			if sameKey(keys[key.ID], key) {
				continue
			}
			err = errors.New("another key before it has the same id")
		}
		if err != nil {
			skipped = append(skipped, fmt.Sprintf("key %d (kid %s): %v", i+1, quoted(keyID(raw)), err))
			continue
		}
		keys[key.ID] = key
	}
	if len(keys) == 0 {
		return nil, skipped, fmt.Errorf("the JWK Set has no key that can verify a token%s", listed(skipped))
	}
	return keys, skipped, nil
}

func parseKey(raw json.RawMessage, source Source) (*token.Key, error) {
	var key jwk
	if err := json.Unmarshal(raw, &key); err != nil {
		return nil, errors.New("it is not a JWK: a member is repeated or has the wrong type")
	}
	if err := key.usable(); err != nil {
		return nil, err
	}
	publicKey, err := key.public.key()
	if err != nil {
		return nil, err
	}
	algorithms := slices.DeleteFunc(slices.Clone(source.Algorithms), func(algorithm jose.SignatureAlgorithm) bool {
		return !fits(algorithm, publicKey) || key.Algorithm != "" && key.Algorithm != string(algorithm)
	})
	if len(algorithms) == 0 {
		return nil, fmt.Errorf("none of the issuer's algorithms %v fits it (kty %s, crv %s, alg %s)",
			source.Algorithms, quoted(key.Type), quoted(key.Curve), quoted(key.Algorithm))
	}
	return &token.Key{ID: key.KeyID, Algorithms: algorithms, Public: publicKey, MaxLifetime: source.MaxLifetime}, nil
}

// usable checks everything that does not need the key itself.
func (k *jwk) usable() error {
	switch {
	case k.Type == "oct":
		return errors.New("it is symmetric: whoever can read the set could sign with it")
	case k.isPrivate():
		// Its public half would verify, but anybody who reads the set can sign with it.
		return errors.New("it is a private key, published to everybody: the issuer must replace it")
	case k.KeyID == "":
		return errors.New("it has no kid, and a token must name its key")
	case len(k.KeyID) > maxKeyID:
		return fmt.Errorf("its kid is longer than %d bytes", maxKeyID)
	case k.Use != "" && k.Use != "sig":
		return fmt.Errorf("its use is %s, not \"sig\"", quoted(k.Use))
	case k.Operations != nil && !slices.Contains(*k.Operations, "verify"):
		return errors.New("its key_ops do not hold \"verify\"")
	}
	return nil
}

func (k *jwk) isPrivate() bool {
	return slices.ContainsFunc([]json.RawMessage{k.K, k.D, k.P, k.Q, k.DP, k.DQ, k.QI, k.Oth, k.Priv},
		func(member json.RawMessage) bool { return len(member) > 0 })
}

// key returns an *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey.
func (p public) key() (any, error) {
	document, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encoding its public members: %w", err)
	}
	var key jose.JSONWebKey
	if key.UnmarshalJSON(document) != nil { // the error repeats the document, which can be long
		return nil, fmt.Errorf("it is not a public key of a known type with well-formed parameters (kty %s, crv %s)",
			quoted(p.Type), quoted(p.Curve))
	}
	switch parsed := key.Key.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return parsed, nil
	case *rsa.PublicKey:
		return parsed, checkRSA(parsed)
	}
	return nil, fmt.Errorf("its type (kty %s) verifies no algorithm that is supported", quoted(p.Type))
}

// checkRSA refuses what is weak, and what crypto/rsa would refuse again at every verification.
func checkRSA(key *rsa.PublicKey) error {
	if bits := key.N.BitLen(); bits < minRSABits {
		return fmt.Errorf("its RSA modulus has %d bits, fewer than %d (RFC 7518 section 3.3)", bits, minRSABits)
	}
	if key.N.Bit(0) == 0 || key.E < 3 || key.E%2 == 0 || key.E > math.MaxInt32 {
		return errors.New("its RSA modulus is even, or its exponent is even or outside 3 to 2^31-1")
	}
	return nil
}

// fits says whether the algorithm can be verified with the key: its type, and for ECDSA its curve (RFC 7518 section 3.4).
func fits(algorithm jose.SignatureAlgorithm, key any) bool {
	switch algorithm {
	case jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512:
		_, ok := key.(*rsa.PublicKey)
		return ok
	case jose.EdDSA:
		_, ok := key.(ed25519.PublicKey)
		return ok
	case jose.ES256, jose.ES384, jose.ES512:
		curve := map[jose.SignatureAlgorithm]string{jose.ES256: "P-256", jose.ES384: "P-384", jose.ES512: "P-521"}
		ec, ok := key.(*ecdsa.PublicKey)
		return ok && ec.Curve.Params().Name == curve[algorithm]
	}
	return false
}

// keyID reads the id of a key that may be unusable in every other respect.
func keyID(raw json.RawMessage) string {
	var key struct {
		KeyID string `json:"kid"`
	}
	if json.Unmarshal(raw, &key) != nil {
		return ""
	}
	return key.KeyID
}

// quoted makes what a server wrote fit for a log, a status and an error.
func quoted(text string) string {
	const most = 64
	if len(text) > most {
		text = text[:most] + "..."
	}
	return fmt.Sprintf("%q", text)
}

// listed appends the first sentences to an error; a hundred of them would hide it.
func listed(sentences []string) string {
	const most = 3
	if len(sentences) == 0 {
		return ": it is empty"
	}
	if len(sentences) > most {
		return fmt.Sprintf(": %s; and %d more", strings.Join(sentences[:most], "; "), len(sentences)-most)
	}
	return ": " + strings.Join(sentences, "; ")
}
