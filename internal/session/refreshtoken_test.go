package session

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// vector is the token of goodFacts, fixedKey and generation 7, computed by another program from the description of the
// format. As long as a client may hold a token, this must not change.
const vector = "ktr1_1Hao0MjJysvMzc7P0NHS09TV1tcAAAAAAAAAB962OvO-VxHVK865p59Y_uvzY9mLjINthQ"

func TestFormat(t *testing.T) {
	facts, key := goodFacts(), fixedKey()
	if got := key.token(&facts, 7).Reveal(); got != vector {
		t.Errorf("the token is %s, want %s", got, vector)
	}
	p, reason := fixedKeys().Read(vector, issuerURL)
	if reason != Good || p.SessionID != facts.ID || p.Generation != 7 || !p.vouchesFor(&Session{Facts: facts}) {
		t.Errorf("Read() = %v, %s", p, reason)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want Reason
	}{
		"nothing":                 {"", Malformed},
		"the prefix only":         {Prefix, Malformed},
		"without the prefix":      {strings.TrimPrefix(vector, Prefix), Malformed},
		"another version":         {strings.Replace(vector, "ktr1_", "ktr2_", 1), Malformed},
		"the prefix in capitals":  {strings.Replace(vector, "ktr1_", "KTR1_", 1), Malformed},
		"one character less":      {vector[:len(vector)-1], Malformed},
		"one character more":      {vector + "A", Malformed},
		"padding":                 {vector + "==", Malformed},
		"padding in the length":   {vector[:len(vector)-2] + "==", Malformed},
		"a space before":          {" " + vector, Malformed},
		"a line break after":      {vector + "\n", Malformed},
		"line breaks after":       {Prefix + strings.Repeat("A", 66) + "\n\n\n\n", Malformed},
		"line breaks inside":      {vector[:len(vector)-4] + "\n\n\n\n", Malformed},
		"a carriage return":       {vector[:20] + "\r" + vector[21:], Malformed},
		"the other alphabet":      {vector[:20] + "+" + vector[21:], Malformed},
		"a byte above ASCII":      {vector[:20] + "\xff" + vector[21:], Malformed},
		"bits that are too many":  {vector[:len(vector)-1] + "R", Malformed}, // Q and R differ in the last bit only
		"two tokens":              {vector + "," + vector, Malformed},
		"a generation too large":  {withGeneration(t, MaxGeneration+1), Malformed},
		"a negative generation":   {withGeneration(t, 1<<63), Malformed},
		"the largest generation":  {withGeneration(t, MaxGeneration), TagInvalid},
		"another generation":      {withGeneration(t, 8), TagInvalid},
		"another key":             {otherKey().token(pointer(goodFacts()), 7).Reveal(), KeyUnknown},
		"another key by our name": {renamed(t, otherKey(), fixedKey().ID), TagInvalid},
		"ours":                    {vector, Good},
	} {
		t.Run(name, func(t *testing.T) {
			if _, got := fixedKeys().Read(test.text, issuerURL); got != test.want {
				t.Errorf("Read() = %s, want %s", got, test.want)
			}
		})
	}
}

// Every bit counts: no part of a token is left unchecked before the store is asked.
func TestReadRefusesEveryChangedBit(t *testing.T) {
	raw := decoded(t, vector)
	for bit := range 8 * len(raw) {
		changed := slices.Clone(raw)
		changed[bit/8] ^= 1 << (bit % 8)
		if _, reason := fixedKeys().Read(Prefix+base64url.EncodeToString(changed), issuerURL); reason == Good {
			t.Errorf("bit %d of byte %d can be changed", bit%8, bit/8)
		}
	}
}

// Whoever edits a fact of a session in the store makes its tokens invalid. A field that is added to Facts without a thought
// of this fails the test.
func TestTokenVouchesForEveryFact(t *testing.T) {
	edits := map[string]func(*Facts){
		"ID":        func(f *Facts) { f.ID[15]++ },
		"IssuerURL": func(f *Facts) { f.IssuerURL += "/" },
		"Subject":   func(f *Facts) { f.Subject = "root" },
		"ClientID":  func(f *Facts) { f.ClientID = "other" },
		"Scopes":    func(f *Facts) { f.Scopes = append(slices.Clone(f.Scopes), "admin") },
		"Audiences": func(f *Facts) { f.Audiences = []string{"mail-api", "vault"} },
		"Claims":    func(f *Facts) { f.Claims = `{"groups": ["staff"]}` },
		"Source":    func(f *Facts) { f.Source = SourcePassword },
		"Salt":      func(f *Facts) { f.Salt[0]++ },
		"CreatedAt": func(f *Facts) { f.CreatedAt = f.CreatedAt.Add(time.Second) },
		"ExpiresAt": func(f *Facts) { f.ExpiresAt = f.ExpiresAt.Add(time.Second) },
		// Where the record lies is not vouched for, so that a backup can be restored elsewhere.
		"Issuer": nil,
	}
	for i := range reflect.TypeFor[Facts]().NumField() {
		name := reflect.TypeFor[Facts]().Field(i).Name
		edit, known := edits[name]
		if !known {
			t.Errorf("the test does not edit %s: decide whether tokens vouch for it", name)
		}
		if edit == nil {
			continue
		}
		stored := storedAt(7, noon)
		p := presented(t, stored, 7)
		if !p.vouchesFor(stored) {
			t.Fatal("the token does not vouch for its own session, so the test would show nothing")
		}
		edit(&stored.Facts)
		if p.vouchesFor(stored) {
			t.Errorf("%s can be edited", name)
		}
	}
}

// No two different sets of facts have one form, also where texts could run into one another.
func TestCanonicalFormIsUnambiguous(t *testing.T) {
	seen := map[string]string{}
	for name, edit := range map[string]func(*Facts){
		"as it is":             func(*Facts) {},
		"a byte to the client": func(f *Facts) { f.Subject, f.ClientID = "alic", "eweb" },
		"one scope of two":     func(f *Facts) { f.Scopes = []string{"orders:readorders:write"} },
		"a scope moved":        func(f *Facts) { f.Scopes, f.Audiences = f.Scopes[:1], append([]string{"orders:write"}, f.Audiences...) },
		"no scopes":            func(f *Facts) { f.Scopes = nil },
		"an empty scope":       func(f *Facts) { f.Scopes = []string{""} },
		"claims to the source": func(f *Facts) { f.Source, f.Claims = f.Source+"{", f.Claims[1:] },
	} {
		facts := goodFacts()
		edit(&facts)
		form := string(facts.canonical(7))
		if other, ok := seen[form]; ok {
			t.Errorf("%q and %q have one form", name, other)
		}
		seen[form] = name
	}
}

// One generation's token is not another's, nor is another session's or another key's.
func TestTokensDiffer(t *testing.T) {
	facts, key, other := goodFacts(), fixedKey(), otherKey()
	seen := map[string]bool{}
	for generation := range uint64(100) {
		seen[key.token(&facts, generation).Reveal()] = true
		seen[other.token(&facts, generation).Reveal()] = true
	}
	facts.ID[0]++
	for generation := range uint64(100) {
		seen[key.token(&facts, generation).Reveal()] = true
	}
	if len(seen) != 300 {
		t.Errorf("300 tokens have %d texts", len(seen))
	}
}

// Whoever has the record and not the key, or the key and not the record, lacks what the mac is made with.
func TestMACNeedsKeyAndRecord(t *testing.T) {
	facts, key := goodFacts(), fixedKey()
	want := key.mac(&facts, 7)
	withoutSalt := facts
	withoutSalt.Salt = Salt{}
	if key.mac(&withoutSalt, 7) == want {
		t.Error("the mac does not need the salt")
	}
	if otherKey().mac(&facts, 7) == want {
		t.Error("the mac does not need the key")
	}
}

// secrets are a value of every type that holds something secret, also where package fmt cannot call its methods.
func secrets() map[string]any {
	key, facts := fixedKey(), goodFacts()
	token := key.token(&facts, 7)
	p, _ := fixedKeys().Read(vector, issuerURL)
	type hidden struct {
		key   Key
		keys  Keys
		token RefreshToken
		p     Presented
	}
	return map[string]any{
		"Key": key, "*Key": &key, "Keys": *fixedKeys(), "*Keys": fixedKeys(), "RefreshToken": token, "*RefreshToken": &token,
		"Presented": p, "*Presented": &p, "Opened": Opened{Session: &Session{Facts: facts}, RefreshToken: token},
		"Result": Result{Session: &Session{Facts: facts}, RefreshToken: token}, "[]Key": []Key{key},
		"Issuer": Issuer{Keys: fixedKeys()}, "*Issuer": &Issuer{Keys: fixedKeys()}, "KeyDecision": KeyDecision{Keys: fixedKeys()},
		"unexported": hidden{key, *fixedKeys(), token, p},
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	key := fixedKey()
	needles := []string{vector, vector[len(vector)-20:], hexOf(key.secret().root[4:20]), hexOf(key.secret().tag[4:20])}
	for _, bytes := range [][]byte{key.secret().root[4:12], key.secret().tag[4:12], decoded(t, vector)[36:44]} {
		needles = append(needles, strings.Trim(fmt.Sprint(bytes), "[]"), strings.Trim(fmt.Sprintf("%#v", bytes), "[]byte{}"), string(bytes))
	}
	printers := map[string]func(any) string{
		"slog": func(v any) string {
			var out bytes.Buffer
			slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
			return out.String()
		},
		"json": func(v any) string {
			document, err := json.Marshal(v)
			if err != nil {
				t.Errorf("json.Marshal(%T): %v", v, err)
			}
			return string(document)
		},
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x", "%o", "%c"} {
		printers[verb] = func(v any) string { return fmt.Sprintf(verb, v) }
	}
	for how, printed := range printers {
		if text := printed(vector); how == "%v" && !strings.Contains(text, needles[0]) {
			t.Fatal("the search finds nothing, so the test would show nothing")
		}
		for name, value := range secrets() {
			text := printed(value)
			for _, needle := range needles {
				if strings.Contains(strings.ToLower(text), strings.ToLower(needle)) {
					t.Errorf("%s of %s prints %q", how, name, text)
				}
			}
		}
	}
}

func otherKey() *Key {
	key := newKey([keySize]byte{42})
	return &key
}

// renamed is a token of a key that claims to be of another.
func renamed(t *testing.T, key *Key, id KeyID) string {
	t.Helper()
	claimed := *key
	claimed.ID = id
	return claimed.token(pointer(goodFacts()), 7).Reveal()
}

// withGeneration puts another generation into the vector.
func withGeneration(t *testing.T, generation uint64) string {
	t.Helper()
	raw := decoded(t, vector)
	binary.BigEndian.PutUint64(raw[20:], generation)
	return Prefix + base64url.EncodeToString(raw)
}

func decoded(t testing.TB, token string) []byte {
	t.Helper()
	raw, err := base64url.DecodeString(strings.TrimPrefix(token, Prefix))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func hexOf(bytes []byte) string { return fmt.Sprintf("%x", bytes) }

func pointer[T any](value T) *T { return &value }
