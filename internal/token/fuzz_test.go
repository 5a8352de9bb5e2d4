package token

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

var fuzzed = []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA, jose.HS256}

// fuzzWorld has a key of each type, and nothing else that could deny.
func fuzzWorld() *world {
	w := newWorld()
	w.change(func(i *Issuer) {
		i.Keys = map[string]*Key{}
		for _, algorithm := range fuzzed {
			i.Keys[string(algorithm)] = newKey(algorithm)
		}
	})
	return w
}

// FuzzVerify gives the verifier any text.
func FuzzVerify(f *testing.F) {
	for _, algorithm := range fuzzed {
		f.Add(goodToken(f, algorithm))
	}
	for _, hostile := range hostileTexts(f) {
		f.Add(hostile.raw)
	}
	for _, hostile := range hostileHeaders {
		f.Add(signed(f, jose.ES256, hostile.header, goodClaims().json(f)))
	}
	for _, hostile := range hostilePayloads {
		f.Add(signed(f, jose.ES256, goodHeader(jose.ES256).json(f), hostile.payload))
	}
	w := fuzzWorld()
	v := w.verifier()
	f.Fuzz(func(t *testing.T, raw string) {
		fresh := NewVerifier(w, w.clock, Options{MaxEntries: -1}).Verify(raw, Want{})
		for range 2 {
			if again := v.Verify(raw, Want{}); again.Reason != fresh.Reason {
				t.Fatalf("with a cache the reason is %s, without %s", again.Reason, fresh.Reason)
			}
		}
		if fresh.Allowed() {
			mustBeGood(t, w, raw, fresh)
		}
	})
}

// FuzzSigned gives the verifier any header and payload under a good signature, which FuzzVerify can never find.
func FuzzSigned(f *testing.F) {
	for i, algorithm := range fuzzed {
		f.Add(goodHeader(algorithm).json(f), goodClaims().json(f), uint8(i))
	}
	for _, hostile := range hostileHeaders {
		f.Add(hostile.header, goodClaims().json(f), uint8(0))
	}
	for _, hostile := range hostilePayloads {
		f.Add(goodHeader(jose.HS256).json(f), hostile.payload, uint8(3))
	}
	w := fuzzWorld()
	v := NewVerifier(w, w.clock, Options{MaxEntries: -1})
	f.Fuzz(func(t *testing.T, header, payload string, which uint8) {
		raw := signed(t, fuzzed[int(which)%len(fuzzed)], header, payload)
		if result := v.Verify(raw, Want{}); result.Allowed() {
			mustBeGood(t, w, raw, result)
		}
	})
}

// FuzzReadObject reads any document member by member, and holds it against the library, which reads it whole.
func FuzzReadObject(f *testing.F) {
	for _, hostile := range hostileHeaders {
		f.Add(hostile.header)
	}
	for _, hostile := range hostilePayloads {
		f.Add(hostile.payload)
	}
	f.Add(`{"\u0061":"\n","b":["","\u00e9",1],"c":{"d":[{"e":-1.5e3}]},"f":[] , "g":-0}`)
	f.Fuzz(func(t *testing.T, document string) {
		var value any
		err := jsonv2.Unmarshal([]byte(document), &value)
		whole, isObject := value.(map[string]any)
		good := err == nil && isObject && nestedAtMost([]byte(document), maxNesting)
		read := map[string]any{}
		ok := readObject([]byte(document), func(in *object, name string) {
			switch in.next() {
			case '0':
				read[name] = in.number()
			case '"', '[':
				read[name] = nil
				if texts, all := in.stringOrStrings(); all {
					read[name] = texts
				}
			default:
				read[name] = nil
				in.skip()
			}
		})
		if ok != good {
			t.Fatalf("read: %v, want %v (%v)", ok, good, err)
		}
		for name, value := range whole {
			whole[name] = asRead(value)
		}
		if diff := cmp.Diff(whole, read); good && diff != "" {
			t.Fatalf("it is read as something else (-whole +members):\n%s", diff)
		}
		// Whatever is refused must not bring them down either.
		new(Claims).parse([]byte(document))
		parseHeader([]byte(document))
	})
}

// asRead returns a number, or the strings that a value is, or nil.
func asRead(value any) any {
	switch value := value.(type) {
	case float64:
		return value
	case string:
		return []string{value}
	case []any:
		texts := make([]string, 0, len(value))
		for _, element := range value {
			text, ok := element.(string)
			if !ok {
				return nil
			}
			texts = append(texts, text)
		}
		return texts
	}
	return nil
}

// mustBeGood judges an allowed token by other means: go-jose's verification with the right key, and encoding/json.
func mustBeGood(t *testing.T, w *world, raw string, result Result) {
	t.Helper()
	parts := strings.Split(raw, ".")
	var header, payload map[string]any
	for i, into := range []*map[string]any{&header, &payload} {
		document, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatalf("allowed, but segment %d cannot be decoded: %v", i, err)
		}
		if err := json.Unmarshal(document, into); err != nil {
			t.Fatalf("allowed, but segment %d is not JSON: %v", i, err)
		}
	}
	keyID, _ := header["kid"].(string)
	key := w.issuer.Keys[keyID]
	if key == nil {
		t.Fatal("allowed, but its key is unknown")
	}
	parsed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(keyID)})
	if err != nil {
		t.Fatalf("allowed, but go-jose does not parse it: %v", err)
	}
	if _, err := parsed.Verify(key.Public); err != nil {
		t.Fatalf("allowed, but go-jose does not verify it: %v", err)
	}
	if payload["iss"] != issuerURL || result.Claims.Issuer != issuerURL {
		t.Fatalf("allowed, but iss is %v", payload["iss"])
	}
	expiry, ok := payload["exp"].(float64)
	if !ok || float64(noon.Unix()) >= expiry+30 {
		t.Fatalf("allowed, but exp is %v", payload["exp"])
	}
	issuedAt, ok := payload["iat"].(float64)
	if !ok || issuedAt > float64(noon.Unix())+30+1e-6 || expiry-issuedAt > 900+1e-5 {
		t.Fatalf("allowed, but iat is %v", payload["iat"])
	}
	read := float64(result.Claims.Expiry.UnixMicro()) / 1e6
	if difference := read - expiry; difference > 1e-5 || difference < -1e-5 {
		t.Fatalf("exp %v is read as %v", payload["exp"], result.Claims.Expiry.Format(time.RFC3339Nano))
	}
	if sub, _ := payload["sub"].(string); sub != result.Claims.Subject {
		t.Fatalf("sub %q is read as %q", sub, result.Claims.Subject)
	}
}
