package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyturn/keyturn/internal/revocation"
)

func TestGoodTokenOfEachAlgorithm(t *testing.T) {
	for algorithm := range signers {
		t.Run(string(algorithm), func(t *testing.T) {
			w := newWorld()
			v := w.verifier()
			raw := goodToken(t, algorithm)
			for _, turn := range []string{"first", "second"} {
				result := v.Verify(raw, Want{})
				if !result.Allowed() {
					t.Fatalf("the %s time: Reason = %s, want %s", turn, result.Reason, Allowed)
				}
				want := Header{Algorithm: algorithm, KeyID: string(algorithm), Type: "at+jwt"}
				if result.Header != want || result.Issuer != w.issuer || result.Claims.Subject != "alice" {
					t.Errorf("the %s time: Header = %+v, Claims = %+v", turn, result.Header, result.Claims)
				}
			}
		})
	}
}

func TestClaimsOfAGoodToken(t *testing.T) {
	result := newWorld().verifier().Verify(goodToken(t, jose.ES256), Want{})
	if result.Claims == nil {
		t.Fatalf("Reason = %s, want %s", result.Reason, Allowed)
	}
	audiences := []string{"shop-api", "mail-api"}
	want := Claims{
		Issuer: issuerURL, Subject: "alice", Audiences: audiences, Expiry: noon.Add(10 * time.Minute),
		NotBefore: noon, IssuedAt: noon, ID: "jti-1", ClientID: "web", SessionID: "sid-1",
		Scopes: []string{"orders:read", "orders:write"},
		others: []namedTexts{{"groups", []string{"buyers", "staff"}}},
	}
	if diff := cmp.Diff(want, *result.Claims, cmp.AllowUnexported(Claims{}, namedTexts{}), cmpopts.IgnoreFields(Claims{}, "size")); diff != "" {
		t.Errorf("Claims (-want +got):\n%s", diff)
	}
}

type checklistTest struct {
	// header and claims change the good ones.
	header, claims fields
	// world changes what the verifier knows.
	world func(*world)
	want  Want
	// reason is what Verify must say.
	reason Reason
}

// checklistTests has one row for each way in which a well-formed token with a good signature passes or fails.
var checklistTests = map[string]checklistTest{
	"not synced":                       {world: func(w *world) { w.synced = false }, reason: NotSynced},
	"no revocations yet":               {world: func(w *world) { w.issuer.Revocations = nil }, reason: NotSynced},
	"unknown issuer":                   {claims: fields{"iss": "https://tokens.example.com/other"}, reason: IssuerUnknown},
	"issuer with a slash more":         {claims: fields{"iss": issuerURL + "/"}, reason: IssuerUnknown},
	"no issuer":                        {claims: fields{"iss": absent}, reason: ClaimMissing},
	"stale keys":                       {world: func(w *world) { w.issuer.KeysStale = true }, reason: KeysStale},
	"unknown kid":                      {header: fields{"kid": "nobody"}, reason: KeyUnknown},
	"no kid":                           {header: fields{"kid": absent}, reason: KeyIDMissing},
	"empty kid":                        {header: fields{"kid": ""}, reason: KeyIDMissing},
	"kid of another key":               {header: fields{"kid": "ES384"}, reason: AlgorithmNotAllowed},
	"revoked key":                      {world: revoked(revocation.Rule{Kind: revocation.KeyID, Value: "ES256"}), reason: KeyRevoked},
	"revoked key that is gone":         {header: fields{"kid": "gone"}, world: revoked(revocation.Rule{Kind: revocation.KeyID, Value: "gone"}), reason: KeyRevoked},
	"same kid, another key":            {world: func(w *world) { w.issuer.Keys["ES256"] = otherES256() }, reason: SignatureInvalid},
	"a key without a public half":      {world: func(w *world) { key := *newKey(jose.ES256); key.Public = nil; w.issuer.Keys["ES256"] = &key }, reason: SignatureInvalid},
	"no exp":                           {claims: fields{"exp": absent}, reason: ClaimMissing},
	"no iat":                           {claims: fields{"iat": absent}, reason: ClaimMissing},
	"no aud":                           {claims: fields{"aud": absent}, reason: ClaimMissing},
	"empty aud":                        {claims: fields{"aud": []string{}}, reason: ClaimMissing},
	"no nbf":                           {claims: fields{"nbf": absent}, reason: Allowed},
	"no sub, at+jwt":                   {claims: fields{"sub": absent}, reason: ClaimMissing},
	"no sub, JWT":                      {header: fields{"typ": "JWT"}, claims: fields{"sub": absent}, reason: Allowed},
	"exp in 1970":                      {claims: fields{"exp": 0}, reason: Expired},
	"exp one skew ago":                 {claims: fields{"iat": at(-time.Minute), "nbf": absent, "exp": at(-30 * time.Second)}, reason: Expired},
	"exp less than one skew ago":       {claims: fields{"iat": at(-time.Minute), "nbf": absent, "exp": at(-30*time.Second + time.Millisecond)}, reason: Allowed},
	"nbf one skew ahead":               {claims: fields{"nbf": at(30 * time.Second)}, reason: Allowed},
	"nbf more than one skew ahead":     {claims: fields{"nbf": at(30*time.Second + time.Millisecond)}, reason: NotYetValid},
	"iat one skew ahead":               {claims: fields{"iat": at(30 * time.Second)}, reason: Allowed},
	"iat more than one skew ahead":     {claims: fields{"iat": at(30*time.Second + time.Millisecond)}, reason: IssuedInFuture},
	"far-future iat":                   {claims: fields{"iat": 253402300799, "exp": 253402300799}, reason: IssuedInFuture},
	"longest lifetime":                 {claims: fields{"exp": at(15 * time.Minute)}, reason: Allowed},
	"longer lifetime":                  {claims: fields{"exp": at(15*time.Minute + time.Millisecond)}, reason: LifetimeExceeded},
	"another audience":                 {claims: fields{"aud": "mail-api"}, reason: AudienceMismatch},
	"audience in another case":         {claims: fields{"aud": "Shop-API"}, reason: AudienceMismatch},
	"one audience as a string":         {claims: fields{"aud": "shop-api"}, reason: Allowed},
	"the issuer that was asked for":    {want: Want{Issuers: []string{"shop/tokens"}}, reason: Allowed},
	"one of the issuers asked for":     {want: Want{Issuers: []string{"shop/other", "shop/tokens"}}, reason: Allowed},
	"not the issuer asked for":         {want: Want{Issuers: []string{"shop/other"}}, reason: IssuerMismatch},
	"the same name elsewhere":          {want: Want{Issuers: []string{"bank/tokens"}}, reason: IssuerMismatch},
	"an issuer without a name":         {want: Want{Issuers: []string{"shop"}}, reason: IssuerMismatch},
	"the audience that was asked for":  {want: Want{Audiences: []string{"mail-api"}}, reason: Allowed},
	"one of those asked for":           {want: Want{Audiences: []string{"x", "mail-api"}}, reason: Allowed},
	"not the audience asked for":       {want: Want{Audiences: []string{"x"}}, reason: AudienceMismatch},
	"an empty audience is none":        {claims: fields{"aud": ""}, want: Want{Audiences: []string{""}}, reason: AudienceMismatch},
	"no audience accepted at all":      {world: func(w *world) { w.issuer.Audiences = nil }, reason: AudienceMismatch},
	"typ with application/":            {header: fields{"typ": "application/AT+JWT"}, reason: Allowed},
	"no typ":                           {header: fields{"typ": absent}, reason: Allowed},
	"no typ where it must be":          {header: fields{"typ": absent}, world: onlyAccessTokens, reason: TypeNotAllowed},
	"JWT where it must be at+jwt":      {header: fields{"typ": "JWT"}, world: onlyAccessTokens, reason: TypeNotAllowed},
	"another typ":                      {header: fields{"typ": "logout+jwt"}, reason: TypeNotAllowed},
	"ID token by at_hash":              {header: fields{"typ": "JWT"}, claims: fields{"at_hash": "x"}, reason: TypeNotAllowed},
	"at_hash beside a typ":             {header: fields{"typ": "JWT"}, claims: fields{"at_hash": "x", "typ": "Bearer"}, reason: TypeNotAllowed},
	"ID token by c_hash":               {header: fields{"typ": absent}, claims: fields{"c_hash": nil}, reason: TypeNotAllowed},
	"logout token by events":           {header: fields{"typ": "JWT"}, claims: fields{"events": fields{}}, reason: TypeNotAllowed},
	"Keycloak's ID token":              {header: fields{"typ": "JWT"}, claims: fields{"typ": "ID"}, reason: TypeNotAllowed},
	"Keycloak's refresh token":         {header: fields{"typ": "JWT"}, claims: fields{"typ": "Refresh"}, reason: TypeNotAllowed},
	"Keycloak's offline token":         {header: fields{"typ": "JWT"}, claims: fields{"typ": "offline"}, reason: TypeNotAllowed},
	"Keycloak's logout token":          {header: fields{"typ": "JWT"}, claims: fields{"typ": "Logout"}, reason: TypeNotAllowed},
	"a claim typ that is no string":    {header: fields{"typ": "JWT"}, claims: fields{"typ": []string{"ID"}}, reason: TypeNotAllowed},
	"Keycloak's access token":          {header: fields{"typ": "JWT"}, claims: fields{"typ": "Bearer"}, reason: Allowed},
	"at+jwt is believed":               {claims: fields{"at_hash": "x"}, reason: Allowed},
	"the scopes that are asked for":    {want: Want{Scopes: []string{"orders:write", "orders:read"}}, reason: Allowed},
	"one scope too few":                {want: Want{Scopes: []string{"orders:read", "admin"}}, reason: ScopeInsufficient},
	"part of a scope":                  {want: Want{Scopes: []string{"orders"}}, reason: ScopeInsufficient},
	"any scope":                        {world: func(w *world) { w.issuer.Scopes = []string{"admin"} }, want: Want{AnyScope: true}, reason: Allowed},
	"any scope and one asked for":      {want: Want{AnyScope: true, Scopes: []string{"admin"}}, reason: ScopeInsufficient},
	"the issuer's scope":               {world: func(w *world) { w.issuer.Scopes = []string{"admin"} }, reason: ScopeInsufficient},
	"the request's scope in its place": {world: func(w *world) { w.issuer.Scopes = []string{"admin"} }, want: Want{Scopes: []string{"orders:read"}}, reason: Allowed},
	"scp as a list":                    {claims: fields{"scope": absent, "scp": []string{"a", "b"}}, want: Want{Scopes: []string{"b"}}, reason: Allowed},
	"scp as a string":                  {claims: fields{"scope": absent, "scp": "a b"}, want: Want{Scopes: []string{"b"}}, reason: Allowed},
	"scp beside scope":                 {claims: fields{"scp": "admin"}, want: Want{Scopes: []string{"admin"}}, reason: ScopeInsufficient},
	"type before scope":                {header: fields{"typ": "x"}, want: Want{Scopes: []string{"admin"}}, reason: TypeNotAllowed},
	"scope before revocation":          {want: Want{Scopes: []string{"admin"}}, world: revoked(revocation.Rule{Kind: revocation.TokenID, Value: "jti-1"}), reason: ScopeInsufficient},
	"revoked token id":                 {world: revoked(revocation.Rule{Kind: revocation.TokenID, Value: "jti-1"}), reason: Revoked},
	"revoked session":                  {world: revoked(revocation.Rule{Kind: revocation.SessionID, Value: "sid-1"}), reason: Revoked},
	"revoked subject":                  {world: revoked(revocation.Rule{Kind: revocation.Subject, Value: "alice", IssuedBefore: noon.Add(time.Second)}), reason: Revoked},
	"revoked audience":                 {world: revoked(revocation.Rule{Kind: revocation.Audience, Value: "mail-api", IssuedBefore: noon.Add(time.Second)}), reason: Revoked},
	"revoked client":                   {world: revoked(revocation.Rule{Kind: revocation.ClientID, Value: "web", IssuedBefore: noon.Add(time.Second)}), reason: Revoked},
	"revoked client by azp":            {claims: fields{"client_id": absent, "azp": "web"}, world: revoked(revocation.Rule{Kind: revocation.ClientID, Value: "web", IssuedBefore: noon.Add(time.Second)}), reason: Revoked},
	"issued in the very moment":        {world: revoked(revocation.Rule{Kind: revocation.All, IssuedBefore: noon}), reason: Allowed},
	"issued half a second before":      {claims: fields{"iat": at(-time.Second / 2)}, world: revoked(revocation.Rule{Kind: revocation.All, IssuedBefore: noon}), reason: Revoked},
}

// at is a NumericDate that long after noon.
func at(offset time.Duration) float64 { return float64(noon.Add(offset).UnixMilli()) / 1000 }

func TestChecklist(t *testing.T) {
	for name, test := range checklistTests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			if test.world != nil {
				test.world(w)
			}
			header, claims := goodHeader(jose.ES256).with(test.header), goodClaims().with(test.claims)
			raw := signed(t, jose.ES256, header.json(t), claims.json(t))
			v := w.verifier()
			// The second time it may be in the cache: the answer must be the same.
			for range 2 {
				result := v.Verify(raw, test.want)
				if result.Reason != test.reason {
					t.Fatalf("Reason = %s, want %s", result.Reason, test.reason)
				}
				if (result.Claims != nil) != (test.reason == Allowed) {
					t.Errorf("Claims = %+v with Reason %s", result.Claims, result.Reason)
				}
			}
		})
	}
}

func onlyAccessTokens(w *world) { w.issuer.Types = []string{"at+jwt"} }

func revoked(rule revocation.Rule) func(*world) {
	rule.ID = "rule"
	return func(w *world) { w.issuer.Revocations.Put(rule) }
}

// otherES256 has the id of the ES256 key and is another one.
func otherES256() *Key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	key := newKey(jose.ES256)
	key.Public = private.Public()
	return key
}

func TestIssuerIsReportedOnceKnown(t *testing.T) {
	w := newWorld()
	expired := signed(t, jose.ES256, goodHeader(jose.ES256).json(t), goodClaims().with(fields{"exp": 1}).json(t))
	if result := w.verifier().Verify(expired, Want{}); result.Reason != Expired || result.Issuer != w.issuer {
		t.Errorf("Reason = %s, Issuer = %p; want %s of the known issuer", result.Reason, result.Issuer, Expired)
	}
	unknown := signed(t, jose.ES256, goodHeader(jose.ES256).json(t), goodClaims().with(fields{"iss": "x"}).json(t))
	if result := w.verifier().Verify(unknown, Want{}); result.Reason != IssuerUnknown || result.Issuer != nil {
		t.Errorf("Reason = %s, Issuer = %p; want %s and none", result.Reason, result.Issuer, IssuerUnknown)
	}
}

func TestRefetch(t *testing.T) {
	tests := map[string]struct {
		// after edits the snapshot that Refetch returns; nil makes it return none.
		after func(*Issuer)
		// revoke puts a rule for the key.
		revoke bool
		reason Reason
		calls  int
	}{
		"brings the key":      {after: func(i *Issuer) { i.Keys["ES256"] = newKey(jose.ES256) }, reason: Allowed, calls: 1},
		"does not bring it":   {after: func(*Issuer) {}, reason: KeyUnknown, calls: 1},
		"fails":               {reason: KeyUnknown, calls: 1},
		"finds stale keys":    {after: func(i *Issuer) { i.KeysStale = true }, reason: KeysStale, calls: 1},
		"not for revoked key": {after: func(*Issuer) {}, revoke: true, reason: KeyRevoked},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			calls := 0
			w.change(func(i *Issuer) {
				delete(i.Keys, "ES256")
				i.Refetch = func(keyID string) *Issuer {
					if calls++; keyID != "ES256" {
						t.Errorf("Refetch(%q), want ES256", keyID)
					}
					w.clock.SetTime(w.clock.Now().Add(time.Second))
					if test.after == nil {
						return nil
					}
					w.change(test.after)
					return w.issuer
				}
			})
			if test.revoke {
				revoked(revocation.Rule{Kind: revocation.KeyID, Value: "ES256"})(w)
			}
			result := w.verifier().Verify(goodToken(t, jose.ES256), Want{})
			if result.Reason != test.reason || calls != test.calls {
				t.Errorf("Reason = %s after %d calls, want %s after %d", result.Reason, calls, test.reason, test.calls)
			}
			if !result.Begun.Equal(noon) {
				t.Errorf("Begun = %s, want %s, before the fetch", result.Begun, noon)
			}
			if result.Issuer != w.issuer {
				t.Error("Issuer is not the snapshot after the fetch")
			}
		})
	}
}
