package login

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
)

// edit changes members of an object; nil takes one out.
type edit map[string]any

func (e edit) of(object map[string]any) map[string]any {
	edited := maps.Clone(object)
	maps.Copy(edited, e)
	maps.DeleteFunc(edited, func(_ string, value any) bool { return value == nil })
	return edited
}

// raw is JSON as it stands.
func raw(text string) json.RawMessage { return json.RawMessage(text) }

// idTokenCase is what is edited in a good ID token and in a spec that it is good for, and what comes of it.
type idTokenCase struct {
	claims, header edit
	spec           func(*v1alpha1.UpstreamLogin)
	// want is the identity, and refused a part of the error where there is none.
	want    Identity
	refused string
}

// alice is the identity of a good ID token.
func alice(edits ...func(*Identity)) Identity {
	identity := Identity{Subject: "idp:alice", Source: session.SourceUpstream, Client: "shop"}
	for _, edit := range edits {
		edit(&identity)
	}
	return identity
}

func withClient(id string) func(*Identity)       { return func(i *Identity) { i.Client = id } }
func withSubject(subject string) func(*Identity) { return func(i *Identity) { i.Subject = subject } }
func withClaims(claims map[string]any) func(*Identity) {
	return func(i *Identity) { i.Claims = claims }
}

func subjectOf(claim string) func(*v1alpha1.UpstreamLogin) {
	return func(spec *v1alpha1.UpstreamLogin) { spec.SubjectClaim = claim }
}

func mapping(pairs ...string) func(*v1alpha1.UpstreamLogin) {
	return func(spec *v1alpha1.UpstreamLogin) {
		for i := 0; i < len(pairs); i += 2 {
			spec.Claims = append(spec.Claims, v1alpha1.ClaimMapping{Name: v1alpha1.ClaimName(pairs[i]), From: pairs[i+1]})
		}
	}
}

// longest is the longest name that makes a subject, after the prefix "idp:".
var longest = strings.Repeat("s", 252)

// Seconds of the claims, around the time at which these tests begin.
var (
	start   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	seconds = start.Unix()
)

// idTokenCases are all signed as they should be.
var idTokenCases = map[string]idTokenCase{
	"good": {want: alice()},

	"type JWT":            {header: edit{"typ": "JWT"}, want: alice()},
	"type jwt":            {header: edit{"typ": "jwt"}, want: alice()},
	"an access token":     {header: edit{"typ": "at+jwt"}, refused: `"typ"`},
	"a logout token":      {header: edit{"typ": "logout+jwt"}, refused: `"typ"`},
	"a type of no text":   {header: edit{"typ": 7}, refused: `"typ"`},
	"an untyped logout":   {claims: edit{"events": raw(`{"backchannel-logout": {}}`)}, refused: "events"},
	"an unknown critical": {header: edit{"crit": []string{"x"}, "x": 1}, refused: "its signature"},

	"expires now":           {claims: edit{"exp": seconds}, refused: "expired"},
	"expires in a second":   {claims: edit{"exp": seconds + 1}, want: alice()},
	"expires in a fraction": {claims: edit{"exp": raw(`1772366400.9`)}, refused: "expired"},
	"no exp":                {claims: edit{"exp": nil}, refused: `no claim "exp"`},
	"exp is a text":         {claims: edit{"exp": "2100-01-01"}, refused: `no claim "exp"`},
	"exp is null":           {claims: edit{"exp": raw(`null`)}, refused: `no claim "exp"`},
	"exp is without bounds": {claims: edit{"exp": raw(`1e400`)}, refused: "not a JWT"},
	"exp is far off":        {claims: edit{"exp": raw(`1e12`)}, refused: `no claim "exp"`},
	"exp is negative":       {claims: edit{"exp": -1}, refused: `no claim "exp"`},
	"no iat":                {claims: edit{"iat": nil}, refused: `no claim "iat"`},
	"iat within the leeway": {claims: edit{"iat": seconds + 60}, want: alice()},
	"iat in the future":     {claims: edit{"iat": seconds + 61}, refused: "issued in the future"},
	"nbf in the future":     {claims: edit{"nbf": seconds + 3600}, refused: "nbf"},

	"aud is a text":                {claims: edit{"aud": "shop"}, want: alice()},
	"aud is a list":                {claims: edit{"aud": []string{"shop"}}, want: alice()},
	"another accepted client":      {claims: edit{"aud": "admin"}, want: alice(withClient("admin"))},
	"another client":               {claims: edit{"aud": "game"}, refused: `"aud"`},
	"a client that only begins so": {claims: edit{"aud": "shop2"}, refused: `"aud"`},
	"no aud":                       {claims: edit{"aud": nil}, refused: `"aud"`},
	"an empty aud":                 {claims: edit{"aud": []string{}}, refused: `"aud"`},
	"aud with a number":            {claims: edit{"aud": []any{"shop", 7}}, refused: `"aud"`},
	"azp is accepted":              {claims: edit{"azp": "admin"}, want: alice(withClient("admin"))},
	"azp is not accepted":          {claims: edit{"azp": "game"}, refused: `"azp"`},
	"azp is a list":                {claims: edit{"azp": []string{"shop"}}, refused: `"azp"`},
	"azp is null":                  {claims: edit{"azp": raw(`null`)}, refused: `"azp"`},
	"several aud, azp accepted":    {claims: edit{"aud": []string{"game", "shop"}, "azp": "shop"}, want: alice()},
	"several aud, azp is another":  {claims: edit{"aud": []string{"game", "shop"}, "azp": "game"}, refused: `"azp"`},
	"several aud, no azp":          {claims: edit{"aud": []string{"shop", "game"}}, refused: `"azp"`},

	"no sub":                 {claims: edit{"sub": nil}, refused: `no claim "sub"`},
	"an empty sub":           {claims: edit{"sub": ""}, refused: `no claim "sub"`},
	"sub is a number":        {claims: edit{"sub": 7}, refused: `no claim "sub"`},
	"sub with a line break":  {claims: edit{"sub": "a\nb"}, refused: "cannot be a subject"},
	"sub with half a letter": {claims: edit{"sub": raw(`"a\ud800"`)}, refused: "cannot be a subject"},
	"the longest sub":        {claims: edit{"sub": longest}, want: alice(withSubject("idp:" + longest))},
	"sub is too long":        {claims: edit{"sub": longest + "s"}, refused: "256 bytes"},
	"no prefix": {
		spec: func(spec *v1alpha1.UpstreamLogin) { spec.SubjectPrefix = "" },
		want: alice(withSubject("alice")),
	},
	"another claim":           {spec: subjectOf("oid"), claims: edit{"oid": "42"}, want: alice(withSubject("idp:42"))},
	"another claim, missing":  {spec: subjectOf("oid"), refused: `no claim "oid"`},
	"a claim in another case": {spec: subjectOf("Sub"), refused: `no claim "Sub"`},
	"no claim is named":       {spec: subjectOf(""), want: alice()},
	"members in another case": {claims: edit{"SUB": "mallory", "Aud": "game", "EXPIRES": 1}, want: alice()},
	"claims that are not for us": {
		claims: edit{"email": "alice@example.com", "groups": []string{"staff"}}, want: alice(),
	},
	"claims that are mapped": {
		claims: edit{"email": "alice@example.com", "groups": []string{"staff"}, "level": 7, "gone": raw(`null`)},
		spec:   mapping("mail", "email", "groups", "", "tier", "level", "gone", "", "absent", ""),
		want: alice(withClaims(map[string]any{
			"mail": "alice@example.com", "groups": []any{"staff"}, "tier": json.Number("7"),
		})),
	},
	"claims that keep their value": {
		claims: edit{"n": raw(`12345678901234567890`), "o": raw(`{"a": [1.50, true, null]}`)},
		spec:   mapping("n", "", "o", ""),
		want: alice(withClaims(map[string]any{
			"n": json.Number("12345678901234567890"), "o": map[string]any{"a": []any{json.Number("1.50"), true, nil}},
		})),
	},
	"none of the mapped claims": {spec: mapping("mail", "email"), want: alice()},
	"as many claims as fit": {
		claims: edit{"x": strings.Repeat("x", maxClaimsBytes-len(`{"x":""}`))}, spec: mapping("x", ""),
		want: alice(withClaims(map[string]any{"x": strings.Repeat("x", maxClaimsBytes-len(`{"x":""}`))})),
	},
	"claims that are too long": {
		claims: edit{"x": strings.Repeat("x", maxClaimsBytes-len(`{"x":""}`)+1)}, spec: mapping("x", ""),
		refused: "8192 bytes",
	},
}

func TestIDTokens(t *testing.T) {
	remote := newUpstream(t)
	upstreams, _ := newUpstreams()
	for name, test := range idTokenCases {
		t.Run(name, func(t *testing.T) {
			spec := remote.spec()
			if test.spec != nil {
				test.spec(&spec)
			}
			token := remote.token(t, test.claims, test.header)
			identity, err := upstreams.Authenticate(t.Context(), []v1alpha1.UpstreamLogin{spec}, token)
			if test.refused == "" && err != nil {
				t.Fatal(err)
			}
			if test.refused != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), test.refused)) {
				t.Fatalf("error %v, want ErrRefused with %q", err, test.refused)
			}
			if !reflect.DeepEqual(identity, test.want) {
				t.Errorf("identity %+v, want %+v", identity, test.want)
			}
			wantNoPartOf(t, err, token)
		})
	}
}
