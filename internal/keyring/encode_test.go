package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

// ringOf makes a ring as Plan does, with a retiring key, of real keys of one algorithm.
func ringOf(t testing.TB, algorithm jose.SignatureAlgorithm) *Ring {
	t.Helper()
	policy := testPolicy()
	policy.Algorithm = algorithm
	ring := plan(t, epoch, policy, nil, Seen{}).Ring
	ring = plan(t, epoch.Add(time.Second), policy, ring, published(ring)).Ring
	return plan(t, epoch.Add(policy.Period), policy, ring, published(ring)).Ring
}

func testPolicy() Policy {
	return Policy{
		Algorithm: jose.ES256, Period: time.Hour, MaxAge: time.Minute, ClockSkew: 5 * time.Second,
		MaxLifetime: 15 * time.Minute, PropagationDelay: 2 * time.Minute, Export: true,
	}
}

func plan(t testing.TB, now time.Time, policy Policy, ring *Ring, seen Seen) Decision {
	t.Helper()
	decision, err := Plan(now, policy, ring, seen, Generate)
	if err != nil {
		t.Fatal(err)
	}
	return decision
}

// published is what is seen when everything that the ring asks for has been written.
func published(ring *Ring) Seen {
	active := ring.Active()
	return Seen{
		Published: idsOf(ring), PublishedRevision: ring.Revision, LongestMaxAge: ring.LongestMaxAge(),
		Mounted: active.ID, MountedRevision: ring.Revision,
	}
}

func encoded(t testing.TB, ring *Ring) []byte {
	t.Helper()
	document, err := Encode(ring)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func TestEncodeDecodeIsIdentity(t *testing.T) {
	for _, algorithm := range []jose.SignatureAlgorithm{
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.RS256, jose.PS512, jose.HS256, jose.HS512,
	} {
		t.Run(string(algorithm), func(t *testing.T) {
			ring := ringOf(t, algorithm)
			ring.HandledRequest, ring.FormerMaxAge, ring.FormerUntil = "2026", time.Hour, epoch.Add(time.Minute)
			ring.FormerRevision, ring.LostAt, ring.Dropped = 2, epoch, []string{"stolen"}
			first := encoded(t, ring)
			decoded, err := Decode(first)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(ring, decoded, cmp.Comparer(sameJWK)); diff != "" {
				t.Errorf("decoding changed the ring (-before +after):\n%s", diff)
			}
			if second := encoded(t, decoded); !bytes.Equal(first, second) {
				t.Errorf("encoding is not stable:\n%s\n%s", first, second)
			}
		})
	}
}

// sameJWK compares without printing key material on failure.
func sameJWK(a, b jose.JSONWebKey) bool {
	left, errLeft := json.Marshal(a)
	right, errRight := json.Marshal(b)
	return errLeft == nil && errRight == nil && bytes.Equal(left, right)
}

func TestRetiredKeyHasNoPrivateHalf(t *testing.T) {
	ring := ringOf(t, jose.ES256)
	retired := ring.Keys[2]
	if retired.State != Retiring || !retired.JWK.IsPublic() {
		t.Fatalf("the third key is %s, public=%v", retired.State, retired.JWK.IsPublic())
	}
	var document struct {
		Keys []struct {
			State string         `json:"state"`
			JWK   map[string]any `json:"jwk"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(encoded(t, ring), &document); err != nil {
		t.Fatal(err)
	}
	for _, key := range document.Keys {
		if _, private := key.JWK["d"]; private != (key.State != "Retiring") {
			t.Errorf("the %s key has a private member: %v", key.State, private)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := string(encoded(t, ringOf(t, jose.ES256)))
	other := string(encoded(t, ringOf(t, jose.ES256)))
	thumbprints := func(document string) string { return strings.Split(strings.Split(document, `"kid":"`)[1], `"`)[0] }
	cases := []struct {
		name, document, want string
	}{
		{"nothing", "", "not a JSON object"},
		{"garbage", "\x00\xff", "not a JSON object"},
		{"half a document", good[:len(good)/2], "not a JSON object"},
		{"something after it", good + "{}", "not a JSON object"},
		{"a later version", strings.Replace(good, `"version":1`, `"version":2`, 1), "run the version of Keyturn that wrote it"},
		{"no version", strings.Replace(good, `"version":1,`, "", 1), "version is 0"},
		{"an unknown field", strings.Replace(good, `"revision"`, `"shape":"round","revision"`, 1), "unknown"},
		{"a time that is none", strings.Replace(good, `"createdAt":"2026`, `"createdAt":"soon`, 1), "wrong type"},
		{"an unknown state", strings.Replace(good, `"state":"Retiring"`, `"state":"Resting"`, 1), "state of a key is unknown"},
		{"two active keys", strings.Replace(good, `"state":"Next"`, `"state":"Active"`, 1), "times of the key"},
		{"no key", `{"version":1,"revision":1,"maxAge":"1m","keys":[]}`, "one Active and one Next"},
		{"another key's id", strings.Replace(good, thumbprints(good), thumbprints(other), 1), "thumbprint"},
		{"another algorithm", strings.Replace(good, `"alg":"ES256"`, `"alg":"ES384"`, 1), "does not fit its algorithm"},
		{"an algorithm that is none", strings.Replace(good, `"alg":"ES256"`, `"alg":"none"`, 1), "does not fit its algorithm"},
		{"a negative revision", strings.Replace(good, `"revision":`, `"revision":-`, 1), "out of bounds"},
		{"no max-age", strings.Replace(good, `"maxAge":"1m0s"`, `"maxAge":"0s"`, 1), "out of bounds"},
		{"too large", strings.Repeat(" ", maxDocumentBytes) + good, "larger than"},
		{"a private half gone", withoutPrivate(t, good), "private half"},
		{"a key twice", twice(t, good), "in it twice"},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			if test.document == good {
				t.Fatal("the case does not change the document")
			}
			_, err := Decode([]byte(test.document))
			if !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Decode: %v; want ErrUnreadable with %q", err, test.want)
			}
		})
	}
	if _, err := Decode([]byte(good)); err != nil {
		t.Errorf("the document that the cases are made from: %v", err)
	}
}

func withoutPrivate(t *testing.T, document string) string {
	return edit(t, document, func(keys []any) []any {
		delete(keys[0].(map[string]any)["jwk"].(map[string]any), "d")
		return keys
	})
}

func twice(t *testing.T, document string) string {
	return edit(t, document, func(keys []any) []any { return append(keys, keys[2]) })
}

func edit(t *testing.T, document string, change func(keys []any) []any) string {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal([]byte(document), &tree); err != nil {
		t.Fatal(err)
	}
	tree["keys"] = change(tree["keys"].([]any))
	edited, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(edited)
}

func TestErrorsNameNoKeyMaterial(t *testing.T) {
	ring := ringOf(t, jose.HS256)
	secret := strings.Split(strings.Split(string(encoded(t, ring)), `"k":"`)[1], `"`)[0]
	for _, document := range []string{
		strings.Replace(string(encoded(t, ring)), secret, secret+"!", 1),
		strings.Replace(string(encoded(t, ring)), `"k":"`, `"k":1,"x":"`, 1),
		strings.Replace(string(encoded(t, ring)), `"alg":"HS256"`, `"alg":"ES256"`, 1),
	} {
		_, err := Decode([]byte(document))
		if err == nil || strings.Contains(err.Error(), secret[:8]) {
			t.Errorf("Decode: %v", err)
		}
	}
}

// FuzzDecode looks for a document that is accepted and yet not what Encode writes, or that Plan cannot go on with.
func FuzzDecode(f *testing.F) {
	for _, algorithm := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.HS256} {
		f.Add(encoded(f, ringOf(f, algorithm)))
	}
	f.Add([]byte(`{"version":1,"revision":1,"maxAge":"1m","keys":[]}`))
	f.Add([]byte(`{"version":1,"revision":1e400}`))
	f.Add([]byte(`{"version":1,"keys":[{"state":"Active","jwk":{"kty":"oct","k":"","alg":"HS256"}}]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		ring, err := Decode(document)
		if err != nil {
			if !errors.Is(err, ErrUnreadable) {
				t.Fatalf("an error that is not ErrUnreadable: %v", err)
			}
			return
		}
		again, err := Decode(encoded(t, ring))
		if err != nil {
			t.Fatalf("what was accepted cannot be written and read again: %v", err)
		}
		if diff := cmp.Diff(ring, again, cmp.Comparer(sameJWK)); diff != "" {
			t.Fatal("writing and reading changed the ring")
		}
		w := &world{}
		decision, err := Plan(epoch, testPolicy(), ring, Seen{}, w.generate)
		if err != nil || decision.Ring.Active() == nil || decision.Ring.Next() == nil {
			t.Fatalf("Plan cannot go on: %v", err)
		}
	})
}
