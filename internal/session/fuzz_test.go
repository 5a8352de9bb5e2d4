package session

import (
	"strings"
	"testing"
)

// FuzzRead gives the decoder any text. What it takes apart has exactly one spelling, and nothing that was not made with
// the key is good.
func FuzzRead(f *testing.F) {
	facts, key := goodFacts(), fixedKey()
	genuine := map[string]bool{}
	for generation := range uint64(8) {
		text := key.token(&facts, generation).Reveal()
		genuine[text] = true
		f.Add(text)
	}
	f.Add("")
	f.Add(Prefix + strings.Repeat("A", TokenLength-len(Prefix)))
	f.Add(Prefix + strings.Repeat("_", TokenLength-len(Prefix)))
	f.Add(vector[:len(vector)-1] + "\n")
	f.Add(otherKey().token(&facts, 0).Reveal())
	keys := fixedKeys()
	f.Fuzz(func(t *testing.T, text string) {
		w, ok := parse(text)
		if ok && w.text().Reveal() != text {
			t.Errorf("%q is a second spelling of %q", text, w.text().Reveal())
		}
		p, reason := keys.Read(text, issuerURL)
		if ok == (reason == Malformed) {
			t.Errorf("parse() says %v and Read() %s", ok, reason)
		}
		if (reason == Good) != genuine[text] {
			t.Errorf("Read(%q) = %s", text, reason)
		}
		if reason == Good && (p.SessionID != w.session || p.Generation != w.generation) {
			t.Errorf("Read() has generation %d of %s, the token generation %d of %s", p.Generation, p.SessionID, w.generation, w.session)
		}
	})
}

// FuzzDecodeKeys gives the decoder of the keys' document any text. What it reads can be written and read again.
func FuzzDecodeKeys(f *testing.F) {
	document, err := EncodeKeys(fixedKeys())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(document)
	f.Add([]byte(`{"version":1,"revision":1,"keys":[]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		keys, err := DecodeKeys(document)
		if err != nil {
			return
		}
		again, err := EncodeKeys(keys)
		if err != nil {
			t.Fatalf("keys that were read cannot be written: %v", err)
		}
		if same, err := DecodeKeys(again); err != nil || len(same.list) != len(keys.list) || same.Revision != keys.Revision {
			t.Errorf("keys that were written are read as %v, %v; want %v", same, err, keys)
		}
	})
}
