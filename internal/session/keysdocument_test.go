package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKeysDocument(t *testing.T) {
	keys := keysUsableFrom(noon, noon.Add(time.Hour+time.Nanosecond), noon.Add(time.Hour+time.Nanosecond))
	keys.Revision, keys.Dropped = 42, []KeyID{{1, 2, 3, 0xab}, {}}
	document, err := EncodeKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := DecodeKeys(document)
	if err != nil {
		t.Fatal(err)
	}
	again, err := EncodeKeys(decoded)
	if err != nil || !bytes.Equal(document, again) {
		t.Errorf("a document that was read is written as another (%v)", err)
	}
	if !slices.Equal(decoded.Dropped, keys.Dropped) {
		t.Errorf("the dropped keys %s are read as %s", keys.Dropped, decoded.Dropped)
	}
	facts := goodFacts()
	for i := range keys.list {
		if got, want := decoded.list[i].token(&facts, 1).Reveal(), keys.list[i].token(&facts, 1).Reveal(); got != want {
			t.Errorf("key %d makes another token after it was read", i)
		}
	}
}

// Documents that were written must be readable by every later version.
func TestKeysDocumentIsStable(t *testing.T) {
	const document = `{"version":1,"revision":1,"keys":[{"id":"d476a8d0",` +
		`"secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8","createdAt":"2026-03-01T12:00:00Z",` +
		`"usableFrom":"2026-03-01T12:00:00Z","maxLifetime":"336h0m0s"}]}`
	got, err := EncodeKeys(fixedKeys())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(document, string(got)); diff != "" {
		t.Errorf("the document (-want +got):\n%s", diff)
	}
	keys, err := DecodeKeys([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	if _, reason := keys.Read(vector, issuerURL); reason != Good {
		t.Errorf("the key of the document reads its token as %s", reason)
	}
}

func TestUnreadableKeysDocuments(t *testing.T) {
	encoded, err := EncodeKeys(keysUsableFrom(noon, noon.Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	good := string(encoded)
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the document does not hold %q, so the case would show nothing", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	var parsed keysDocument
	if err := json.Unmarshal(encoded, &parsed); err != nil {
		t.Fatal(err)
	}
	first := parsed.Keys[0]
	many := parsed
	many.Keys = make([]keyDocument, MaxKeys+1)
	tooMany, _ := json.Marshal(many)
	for name, document := range map[string]string{
		"nothing":                   "",
		"no JSON":                   "keys",
		"a list":                    "[]",
		"null":                      "null",
		"a later version":           replace(`"version":1`, `"version":2`),
		"a version as text":         replace(`"version":1`, `"version":"1"`),
		"an unknown field":          replace(`"version":1`, `"version":1,"more":true`),
		"an unknown field of keys":  replace(`"id":`, `"algorithm":"x","id":`),
		"something after it":        good + "{}",
		"a bracket after it":        good + "]",
		"cut off":                   good[:len(good)-1],
		"no revision":               replace(`"revision":1`, `"revision":0`),
		"no keys":                   `{"version":1,"revision":1,"keys":[]}`,
		"too many keys":             string(tooMany),
		"a huge document":           good + strings.Repeat(" ", maxDocumentBytes),
		"another id":                replace(first.ID, "00000000"),
		"an id in capitals":         replace(first.ID, strings.ToUpper(first.ID)),
		"another secret":            replace(first.Secret, base64url.EncodeToString(make([]byte, keySize))),
		"a short secret":            replace(first.Secret, first.Secret[:40]),
		"a padded secret":           replace(first.Secret, first.Secret+"="),
		"a broken secret":           replace(first.Secret, first.Secret[:len(first.Secret)-1]+`\n`),
		"a key twice":               twice(t, parsed),
		"the wrong order":           reversed(t, parsed),
		"a dropped key in capitals": replace(`"revision":1`, `"revision":1,"dropped":["ABCDEF01"]`),
		"a dropped key of 5 bytes":  replace(`"revision":1`, `"revision":1,"dropped":["abcdef0102"]`),
		"too many dropped keys":     replace(`"revision":1`, `"revision":1,"dropped":["00000000"`+strings.Repeat(`,"00000000"`, maxDropped)+`]`),
		"no creation":               replace(`"createdAt":"2026-03-01T11:54:30Z"`, `"createdAt":"0001-01-01T00:00:00Z"`),
		"no usable time":            replace(`"usableFrom":"2026-03-01T12:00:00Z",`, ``),
		"a lifetime of nothing":     replace(`"336h0m0s"`, `"0s"`),
		"a negative lifetime":       replace(`"336h0m0s"`, `"-1h"`),
		"a lifetime in words":       replace(`"336h0m0s"`, `"long"`),
		"a lifetime of two years":   replace(`"336h0m0s"`, `"17520h"`),
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := DecodeKeys([]byte(document))
			if keys != nil || !errors.Is(err, ErrUnreadable) {
				t.Fatalf("DecodeKeys() = %v, %v; want %q", keys, err, ErrUnreadable)
			}
			for _, secret := range []string{first.Secret[:20], parsed.Keys[1].Secret[:20]} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error quotes a secret: %v", err)
				}
			}
		})
	}
}

func twice(t *testing.T, document keysDocument) string {
	document.Keys = append(document.Keys[:1:1], document.Keys[0])
	return marshaled(t, document)
}

func reversed(t *testing.T, document keysDocument) string {
	document.Keys = []keyDocument{document.Keys[1], document.Keys[0]}
	return marshaled(t, document)
}

func marshaled(t *testing.T, document keysDocument) string {
	t.Helper()
	encoded, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}
