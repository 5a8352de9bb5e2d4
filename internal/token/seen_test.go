package token

import (
	"maps"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyturn/keyturn/internal/revocation"
)

// seenTests has one row for each way in which a token that was seen, and was good, can turn bad.
var seenTests = map[string]struct {
	// claims change the good ones.
	claims fields
	// then and rule happen after the token was seen. A rule is put into the index of the issuer.
	then func(*world)
	rule revocation.Rule
	// want is what the second request asks for.
	want   Want
	reason Reason
}{
	"nothing":                       {reason: Allowed},
	"same key read anew":            {then: change(func(i *Issuer) { i.Keys["ES256"] = newKey(jose.ES256) }), reason: Allowed},
	"rule for another token":        {rule: revocation.Rule{Kind: revocation.TokenID, Value: "jti-2"}, reason: Allowed},
	"not synced":                    {then: func(w *world) { w.synced = false }, reason: NotSynced},
	"revocations not read":          {then: change(func(i *Issuer) { i.Revocations = nil }), reason: NotSynced},
	"issuer deleted":                {then: func(w *world) { delete(w.directory, issuerURL) }, reason: IssuerUnknown},
	"other issuer asked for":        {want: Want{Issuers: []string{"shop/other"}}, reason: IssuerMismatch},
	"issuer named anew":             {then: change(func(i *Issuer) { i.Name = "other" }), want: Want{Issuers: []string{"shop/tokens"}}, reason: IssuerMismatch},
	"key revoked":                   {rule: revocation.Rule{Kind: revocation.KeyID, Value: "ES256"}, reason: KeyRevoked},
	"keys stale":                    {then: change(func(i *Issuer) { i.KeysStale = true }), reason: KeysStale},
	"key removed":                   {then: change(func(i *Issuer) { delete(i.Keys, "ES256") }), reason: KeyUnknown},
	"algorithm taken from the key":  {then: change(func(i *Issuer) { i.Keys["ES256"] = withAlgorithm(jose.ES384) }), reason: AlgorithmNotAllowed},
	"another key with the same kid": {then: change(func(i *Issuer) { i.Keys["ES256"] = otherES256() }), reason: SignatureInvalid},
	"expiry passes":                 {then: after(10*time.Minute + 30*time.Second), reason: Expired},
	"skew lowered":                  {then: both(after(10*time.Minute+time.Second), change(func(i *Issuer) { i.ClockSkew = 0 })), reason: Expired},
	"clock set back before nbf":     {then: after(-time.Minute), reason: NotYetValid},
	"clock set back before iat":     {claims: fields{"nbf": absent}, then: after(-time.Minute), reason: IssuedInFuture},
	"lifetime lowered":              {then: change(shortenLifetime), reason: LifetimeExceeded},
	"audience changed":              {then: change(func(i *Issuer) { i.Audiences = []string{"billing-api"} }), reason: AudienceMismatch},
	"no audience any more":          {then: change(func(i *Issuer) { i.Audiences = nil }), reason: AudienceMismatch},
	"other audience asked for":      {want: Want{Audiences: []string{"billing-api"}}, reason: AudienceMismatch},
	"type no longer accepted":       {then: change(func(i *Issuer) { i.Types = []string{"jwt"} }), reason: TypeNotAllowed},
	"scope required":                {then: change(func(i *Issuer) { i.Scopes = []string{"admin"} }), reason: ScopeInsufficient},
	"other scope asked for":         {want: Want{Scopes: []string{"admin"}}, reason: ScopeInsufficient},
	"rule for the token":            {rule: revocation.Rule{Kind: revocation.TokenID, Value: "jti-1"}, reason: Revoked},
	"rule for the session":          {rule: revocation.Rule{Kind: revocation.SessionID, Value: "sid-1"}, reason: Revoked},
	"rule for the subject":          {rule: revocation.Rule{Kind: revocation.Subject, Value: "alice", IssuedBefore: noon.Add(1)}, reason: Revoked},
	"rule for the client":           {rule: revocation.Rule{Kind: revocation.ClientID, Value: "web", IssuedBefore: noon.Add(1)}, reason: Revoked},
	"rule for an audience":          {rule: revocation.Rule{Kind: revocation.Audience, Value: "mail-api", IssuedBefore: noon.Add(1)}, reason: Revoked},
	"rule for all":                  {rule: revocation.Rule{Kind: revocation.All, IssuedBefore: noon.Add(1)}, reason: Revoked},
}

// What follows from the text of a token alone cannot change once it was seen: these checks, and these reasons.
var (
	checksOfTheText  = []string{nameOf(checkSize), nameOf(checkShape), nameOf(checkRequiredClaims)}
	reasonsOfTheText = []Reason{
		TokenMissing, TokenAmbiguous, TokenTooLarge, Malformed, HeaderNotAllowed, CriticalUnknown, KeyIDMissing, ClaimMissing,
	}
)

// Remembering a signature delays nothing: the token is denied from the very moment that something speaks against it, and
// allowed again from the moment that nothing does. There is a row for every check and every reason.
func TestEveryCheckOfASeenToken(t *testing.T) {
	original, given := checklist, map[Reason]bool{Allowed: true}
	denied := deniedBy(t)
	for name, test := range seenTests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			v := w.verifier()
			raw := signed(t, jose.ES256, goodHeader(jose.ES256).json(t), goodClaims().with(test.claims).json(t))
			if got := v.Verify(raw, Want{}).Reason; got != Allowed {
				t.Fatalf("before: Reason = %s, want %s", got, Allowed)
			}
			if v.cached() != 1 {
				t.Fatal("before: the token was not remembered, so the test would show nothing")
			}
			before := *w
			before.directory = maps.Clone(w.directory)

			test.rule.ID = "rule"
			w.issuer.Revocations.Put(test.rule)
			if test.then != nil {
				test.then(w)
			}
			if got := v.Verify(raw, test.want).Reason; got != test.reason {
				t.Errorf("after: Reason = %s, want %s", got, test.reason)
			}
			given[test.reason] = true

			*w = before
			w.issuer.Revocations.Delete(test.rule)
			w.clock.SetTime(noon)
			if got := v.Verify(raw, Want{}).Reason; got != Allowed {
				t.Errorf("undone: Reason = %s, want %s", got, Allowed)
			}
		})
	}
	for _, check := range original {
		if name := nameOf(check); !denied[name] && !slices.Contains(checksOfTheText, name) {
			t.Errorf("no row makes %s deny a seen token", name)
		}
	}
	for _, reason := range declaredReasons(t) {
		if !given[reason] && !slices.Contains(reasonsOfTheText, reason) {
			t.Errorf("no row has the reason %s", reason)
		}
	}
}

// deniedBy returns a set that is filled with the names of the checks that deny a token, until the end of the test.
func deniedBy(t *testing.T) map[string]bool {
	t.Helper()
	denied, original := map[string]bool{}, checklist
	t.Cleanup(func() { checklist = original })
	for i, check := range original {
		checklist[i] = func(in *input) Reason {
			reason := check(in)
			if reason != Allowed {
				denied[nameOf(check)] = true
			}
			return reason
		}
	}
	return denied
}

func nameOf(check func(*input) Reason) string {
	return runtime.FuncForPC(reflect.ValueOf(check).Pointer()).Name()
}

func change(edit func(*Issuer)) func(*world) { return func(w *world) { w.change(edit) } }

func after(passed time.Duration) func(*world) {
	return func(w *world) { w.clock.SetTime(noon.Add(passed)) }
}

func both(first, second func(*world)) func(*world) {
	return func(w *world) { first(w); second(w) }
}

// shortenLifetime gives the key a shorter promise. A key is immutable, so it is another one, with the same public half.
func shortenLifetime(i *Issuer) {
	key := *i.Keys["ES256"]
	key.MaxLifetime = 10*time.Minute - time.Second
	i.Keys["ES256"] = &key
}

func withAlgorithm(algorithm jose.SignatureAlgorithm) *Key {
	key := newKey(jose.ES256)
	key.Algorithms = []jose.SignatureAlgorithm{algorithm}
	return key
}
