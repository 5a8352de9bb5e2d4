package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Only what came with a good signature is remembered: nobody else chooses what is.
func TestKnownHeaders(t *testing.T) {
	w := newWorld()
	v := w.verifier()
	header := goodHeader(jose.HS256).json(t)
	forged := segment(header) + "." + segment(goodClaims().json(t)) + "." + segment("no signature of this token......")
	if v.Verify(forged, Want{}); known(v) != 0 {
		t.Error("the header of a forged token is remembered")
	}
	made := tokens(t, 3)
	for i := range made {
		result := v.Verify(made[i], Want{})
		if want := (Header{Algorithm: jose.HS256, KeyID: "HS256", Type: "at+jwt"}); result.Header != want {
			t.Fatalf("header %+v, %s, want %+v", result.Header, result.Reason, want)
		}
	}
	if one, other := v.cache.find(digestOf(made[0])), v.cache.find(digestOf(made[1])); one.header != other.header {
		t.Error("two tokens do not share the header that they have in common")
	}
	if got := known(v); got != 1 {
		t.Errorf("%d headers are remembered, want 1", got)
	}
	// What it says is held against the key each time.
	w.change(func(issuer *Issuer) {
		key := *issuer.Keys["HS256"]
		key.Algorithms = []jose.SignatureAlgorithm{jose.HS512}
		issuer.Keys["HS256"] = &key
	})
	raw := signed(t, jose.HS256, header, goodClaims().with(fields{"jti": "later"}).json(t))
	if got := v.Verify(raw, Want{}).Reason; got != AlgorithmNotAllowed {
		t.Errorf("Reason = %s, want %s", got, AlgorithmNotAllowed)
	}
	if v.Verify(forged, Want{}).Allowed() {
		t.Error("a known header lets a forged token pass")
	}
}

func TestKnownHeadersAreBounded(t *testing.T) {
	v := newWorld().verifier()
	for i := range 10 * len(v.headers.places) {
		header := goodHeader(jose.HS256).with(fields{"x": i}).json(t)
		if got := v.Verify(signed(t, jose.HS256, header, goodClaims().json(t)), Want{}).Reason; got != Allowed {
			t.Fatal(got)
		}
	}
	if got := known(v); got == 0 || got > len(v.headers.places) {
		t.Errorf("%d headers are remembered", got)
	}
}

func known(v *Verifier) (count int) {
	for i := range v.headers.places {
		if v.headers.places[i].Load() != nil {
			count++
		}
	}
	return count
}

// A key that by mistake is listed for an algorithm of another curve does not verify it, though its signatures fit in.
func TestAlgorithmMustFitTheCurveOfTheKey(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld()
	key := *w.issuer.Keys["ES256"]
	key.Public = &private.PublicKey
	w.issuer.Keys["ES256"] = &key
	text := segment(goodHeader(jose.ES256).json(t)) + "." + segment(goodClaims().json(t))
	hash := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, private, hash[:])
	if err != nil {
		t.Fatal(err)
	}
	made := make([]byte, 64)
	r.FillBytes(made[:32])
	s.FillBytes(made[32:])
	if got := w.verifier().Verify(text+"."+segment(string(made)), Want{}).Reason; got != SignatureInvalid {
		t.Errorf("Reason = %s, want %s", got, SignatureInvalid)
	}
}
