package token

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// hostileHeaders are raw headers of tokens that are otherwise good, signed with the ES256 key.
var hostileHeaders = map[string]struct {
	header string
	reason Reason
}{
	"none":                     {`{"alg":"none","kid":"ES256","typ":"at+jwt"}`, AlgorithmNotAllowed},
	"None":                     {`{"alg":"None","kid":"ES256","typ":"at+jwt"}`, AlgorithmNotAllowed},
	"empty alg":                {`{"alg":"","kid":"ES256","typ":"at+jwt"}`, AlgorithmNotAllowed},
	"alg in lower case":        {`{"alg":"es256","kid":"ES256","typ":"at+jwt"}`, AlgorithmNotAllowed},
	"an encryption alg":        {`{"alg":"RSA-OAEP","kid":"RS256","typ":"at+jwt"}`, AlgorithmNotAllowed},
	"alg of another curve":     {`{"alg":"ES384","kid":"ES256","typ":"at+jwt"}`, AlgorithmNotAllowed},
	"alg of the other padding": {`{"alg":"PS256","kid":"RS256","typ":"at+jwt"}`, AlgorithmNotAllowed},
	"no alg":                   {`{"kid":"ES256","typ":"at+jwt"}`, Malformed},
	"alg null":                 {`{"alg":null,"kid":"ES256"}`, Malformed},
	"alg a list":               {`{"alg":["ES256"],"kid":"ES256"}`, Malformed},
	"kid a number":             {`{"alg":"ES256","kid":1}`, Malformed},
	"typ null":                 {`{"alg":"ES256","kid":"ES256","typ":null}`, Malformed},
	"unknown kid":              {`{"alg":"ES256","kid":"../../dev/null","typ":"at+jwt"}`, KeyUnknown},
	"kid in another case":      {`{"alg":"ES256","kid":"es256","typ":"at+jwt"}`, KeyUnknown},
	"KID":                      {`{"alg":"ES256","KID":"ES256","typ":"at+jwt"}`, KeyIDMissing},
	"embedded jwk":             {`{"alg":"ES256","kid":"ES256","jwk":{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}}`, HeaderNotAllowed},
	"embedded jwk null":        {`{"alg":"ES256","kid":"ES256","jwk":null}`, HeaderNotAllowed},
	"jku":                      {`{"alg":"ES256","kid":"ES256","jku":"https://evil.example/jwks.json"}`, HeaderNotAllowed},
	"x5u":                      {`{"alg":"ES256","kid":"ES256","x5u":"https://evil.example/chain.pem"}`, HeaderNotAllowed},
	"x5c":                      {`{"alg":"ES256","kid":"ES256","x5c":["AA=="]}`, HeaderNotAllowed},
	"b64":                      {`{"alg":"ES256","kid":"ES256","b64":false,"crit":["b64"]}`, HeaderNotAllowed},
	"unknown crit":             {`{"alg":"ES256","kid":"ES256","crit":["exp"],"exp":1}`, CriticalUnknown},
	"empty crit":               {`{"alg":"ES256","kid":"ES256","crit":[]}`, CriticalUnknown},
	"crit of another type":     {`{"alg":"ES256","kid":"ES256","crit":"exp"}`, CriticalUnknown},
	"duplicate alg":            {`{"alg":"ES256","alg":"none","kid":"ES256"}`, Malformed},
	"duplicate kid, escaped":   {`{"alg":"ES256","kid":"ES256","\u006bid":"HS256"}`, Malformed},
	"nested duplicate":         {`{"alg":"ES256","kid":"ES256","x":{"a":1,"a":2}}`, Malformed},
	"a list":                   {`["ES256"]`, Malformed},
	"null":                     {`null`, Malformed},
	"not JSON":                 {`alg=ES256`, Malformed},
	"unfinished":               {`{"alg":"ES256"`, Malformed},
	"trailing object":          {`{"alg":"ES256","kid":"ES256"}{}`, Malformed},
	"trailing NUL":             {"{\"alg\":\"ES256\",\"kid\":\"ES256\"}\x00", Malformed},
	"byte order mark":          {"\ufeff{\"alg\":\"ES256\",\"kid\":\"ES256\"}", Malformed},
	"more than 4 KiB":          {`{"alg":"ES256","kid":"ES256","x":"` + strings.Repeat("x", 4096) + `"}`, Malformed},
	"thumbprints are harmless": {`{"alg":"ES256","kid":"ES256","x5t":"AA","x5t#S256":"AA","cty":"x"}`, Allowed},
}

func TestHostileHeaders(t *testing.T) {
	for name, test := range hostileHeaders {
		t.Run(name, func(t *testing.T) {
			raw := signed(t, jose.ES256, test.header, goodClaims().json(t))
			if got := newWorld().verifier().Verify(raw, Want{}).Reason; got != test.reason {
				t.Errorf("Reason = %s, want %s", got, test.reason)
			}
		})
	}
}

// payload returns the good claims with raw JSON for some members, added at the end; an empty text leaves one out.
func payload(raw map[string]string) string {
	claims := goodClaims()
	var more []string
	for name, value := range raw {
		delete(claims, name)
		if value != "" {
			more = append(more, fmt.Sprintf("%q:%s", name, value))
		}
	}
	document, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	if len(more) == 0 {
		return string(document)
	}
	return strings.TrimSuffix(string(document), "}") + "," + strings.Join(more, ",") + "}"
}

func one(name, value string) string { return payload(map[string]string{name: value}) }

// hostilePayloads are raw payloads under a good header and a good signature.
var hostilePayloads = map[string]struct {
	payload string
	reason  Reason
}{
	"not JSON":                   {`hello`, Malformed},
	"a list":                     {`[]`, Malformed},
	"a string":                   {`"x"`, Malformed},
	"null":                       {`null`, Malformed},
	"nothing in it":              {`{}`, ClaimMissing},
	"trailing data":              {payload(nil) + `{"sub":"admin"}`, Malformed},
	"trailing space":             {payload(nil) + " \n", Allowed},
	"duplicate iss":              {strings.TrimSuffix(payload(nil), "}") + `,"iss":"x"}`, Malformed},
	"duplicate sub":              {strings.TrimSuffix(payload(nil), "}") + `,"sub":"admin"}`, Malformed},
	"duplicate, escaped":         {strings.TrimSuffix(payload(nil), "}") + `,"\u0073ub":"admin"}`, Malformed},
	"duplicate unknown member":   {strings.TrimSuffix(payload(nil), "}") + `,"x":1,"x":2}`, Malformed},
	"duplicate in an object":     {one("act", `{"sub":"a","sub":"b"}`), Malformed},
	"duplicate in a list":        {one("act", `[[{"sub":"a","sub":"b"}]]`), Malformed},
	"members are case-sensitive": {payload(map[string]string{"exp": "", "EXP": "1772366400"}), ClaimMissing},
	"Sub beside sub":             {one("Sub", `"admin"`), Allowed},
	"invalid UTF-8":              {one("name", "\"\xff\xfe\""), Malformed},
	"half of a surrogate pair":   {one("name", `"\ud800"`), Malformed},
	"single quotes escaped":      {one("name", `"\'"`), Malformed},
	"deep nesting":               {one("x", strings.Repeat("[", 5000)+strings.Repeat("]", 5000)), Malformed},
	"nesting at the bound":       {one("x", strings.Repeat("[", 15)+`"]"`+strings.Repeat("]", 15)), Allowed},
	"nesting over the bound":     {one("x", strings.Repeat("[", 16)+strings.Repeat("]", 16)), Malformed},
	"brackets in a string":       {one("x", `"`+strings.Repeat(`[{\"`, 100)+`"`), Allowed},
	"many brackets side by side": {one("x", "["+strings.Repeat("[],", 100)+"[]]"), Allowed},

	"iss a number":             {one("iss", `1`), Malformed},
	"iss null":                 {one("iss", `null`), Malformed},
	"iss a list":               {one("iss", `["`+issuerURL+`"]`), Malformed},
	"iss empty":                {one("iss", `""`), ClaimMissing},
	"sub null":                 {one("sub", `null`), Malformed},
	"sub a number":             {one("sub", `42`), Malformed},
	"sub empty":                {one("sub", `""`), ClaimMissing},
	"aud null":                 {one("aud", `null`), Malformed},
	"aud an object":            {one("aud", `{"shop-api":true}`), Malformed},
	"aud with a number":        {one("aud", `["shop-api",1]`), Malformed},
	"aud with a number, first": {one("aud", `[1,"shop-api"]`), Malformed},
	"aud with a null":          {one("aud", `["shop-api",null]`), Malformed},
	"aud nested":               {one("aud", `[["shop-api"]]`), Malformed},
	"jti a number":             {one("jti", `7`), Malformed},
	"sid true":                 {one("sid", `true`), Malformed},
	"client_id null":           {one("client_id", `null`), Malformed},
	"azp a list":               {one("azp", `["web"]`), Malformed},
	"scope a list":             {one("scope", `["orders:read"]`), Malformed},
	"scp an object":            {one("scp", `{}`), Malformed},
	"groups of a wrong type":   {one("groups", `[1,2]`), Allowed},

	"exp a string":          {one("exp", `"1772366700"`), Malformed},
	"exp null":              {one("exp", `null`), Malformed},
	"exp true":              {one("exp", `true`), Malformed},
	"exp a list":            {one("exp", `[1772366700]`), Malformed},
	"exp negative":          {one("exp", `-1`), Malformed},
	"exp 1e400":             {one("exp", `1e400`), Malformed},
	"exp 1e300":             {one("exp", `1e300`), Malformed},
	"exp over 64 bits":      {one("exp", `99999999999999999999999999`), Malformed},
	"exp after 9999":        {one("exp", `253402300800`), Malformed},
	"exp in milliseconds":   {one("exp", `1772366700000`), Malformed},
	"exp NaN":               {one("exp", `NaN`), Malformed},
	"exp in hexadecimal":    {one("exp", `0x69A43D40`), Malformed},
	"exp with leading zero": {one("exp", `01772366700`), Malformed},
	"exp with a fraction":   {one("exp", `1772366700.75`), Allowed},
	"exp with an exponent":  {one("exp", `1.7723667e9`), Allowed},
	"iat negative":          {one("iat", `-1e9`), Malformed},
	"iat 1e400":             {one("iat", `1e400`), Malformed},
	"iat in the far future": {one("iat", `253402300799`), IssuedInFuture},
	"nbf a string":          {one("nbf", `"0"`), Malformed},
	"nbf -1e400":            {one("nbf", `-1e400`), Malformed},
	"nbf in the far future": {one("nbf", `253402300799`), NotYetValid},
	"huge number elsewhere": {one("x", `1e400`), Malformed},
}

func TestHostilePayloads(t *testing.T) {
	for name, test := range hostilePayloads {
		t.Run(name, func(t *testing.T) {
			raw := signed(t, jose.ES256, goodHeader(jose.ES256).json(t), test.payload)
			if got := newWorld().verifier().Verify(raw, Want{}).Reason; got != test.reason {
				t.Errorf("Reason = %s, want %s", got, test.reason)
			}
		})
	}
}

// hostileTexts are texts that are no token, made of a good one.
func hostileTexts(t testing.TB) map[string]struct {
	raw    string
	reason Reason
} {
	good := goodToken(t, jose.ES256)
	part := strings.Split(good, ".")
	header, claims, sig := part[0], part[1], part[2]
	unsigned := segment(`{"alg":"none","kid":"ES256","typ":"at+jwt"}`) + "." + claims + "."
	return map[string]struct {
		raw    string
		reason Reason
	}{
		"no token":                    {"", TokenMissing},
		"only spaces":                 {"  ", TokenMissing},
		"two tokens, comma":           {good + "," + good, TokenAmbiguous},
		"two tokens, comma, space":    {good + ", " + good, TokenAmbiguous},
		"two tokens, space":           {good + " " + good, TokenAmbiguous},
		"two tokens, line break":      {good + "\n" + good, TokenAmbiguous},
		"with its scheme":             {"Bearer " + good, Malformed},
		"1 MB of a token":             {header + "." + strings.Repeat("e", 1<<20) + "." + sig, TokenTooLarge},
		"1 MB of dots":                {strings.Repeat(".", 1<<20), TokenTooLarge},
		"one byte too many":           {strings.Repeat("e", MaxTokenBytes+1), TokenTooLarge},
		"largest size, no token":      {strings.Repeat("e", MaxTokenBytes), Malformed},
		"one segment":                 {header, Malformed},
		"two segments":                {header + "." + claims, Malformed},
		"four segments":               {good + "." + sig, Malformed},
		"five segments, as JWE":       {good + ".." + sig, Malformed},
		"empty header":                {"." + claims + "." + sig, Malformed},
		"empty payload":               {header + ".." + sig, Malformed},
		"empty signature":             {header + "." + claims + ".", Malformed},
		"only dots":                   {"..", Malformed},
		"none without signature":      {unsigned, Malformed},
		"none with a signature":       {unsigned + sig, AlgorithmNotAllowed},
		"leading space":               {" " + good, Malformed},
		"trailing line break":         {good + "\n", Malformed},
		"line break inside":           {header + "." + claims[:8] + "\n" + claims[8:] + "." + sig, Malformed},
		"return inside":               {header + ".\r" + claims + "." + sig, Malformed},
		"padded":                      {good + "==", Malformed},
		"standard alphabet":           {header + "." + claims + "." + strings.Repeat("+/", 43), Malformed},
		"NUL inside":                  {header + "." + claims + "." + sig + "\x00", Malformed},
		"not ASCII":                   {header + "." + claims + "." + sig + "é", Malformed},
		"another spelling":            {otherSpelling(t, good), Malformed},
		"JSON serialization":          {`{"protected":"` + header + `","payload":"` + claims + `","signature":"` + sig + `"}`, Malformed},
		"payload of another token":    {header + "." + segment(one("sub", `"admin"`)) + "." + sig, SignatureInvalid},
		"header of another token":     {segment(`{"alg":"ES256","kid":"ES256"}`) + "." + claims + "." + sig, SignatureInvalid},
		"signature cut short":         {good[:len(good)-2], SignatureInvalid},
		"signature all zero":          {header + "." + claims + "." + segment(strings.Repeat("\x00", 64)), SignatureInvalid},
		"signature too long":          {header + "." + claims + "." + segment(strings.Repeat("\x01", 6000)), SignatureInvalid},
		"HMAC with public DER":        {confused(t, "RS256", publicDER(t)), AlgorithmNotAllowed},
		"HMAC with modulus":           {confused(t, "RS256", fixedRSA.N.Bytes()), AlgorithmNotAllowed},
		"HMAC with EC public DER":     {confused(t, "ES256", publicDER(t)), AlgorithmNotAllowed},
		"HMAC with an empty secret":   {confused(t, "HS256", nil), SignatureInvalid},
		"RSA under the id of an HMAC": {signed(t, jose.RS256, `{"alg":"RS256","kid":"HS256","typ":"at+jwt"}`, goodClaims().json(t)), AlgorithmNotAllowed},
	}
}

func TestHostileTexts(t *testing.T) {
	for name, test := range hostileTexts(t) {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			v := w.verifier()
			for range 2 {
				if got := v.Verify(test.raw, Want{}).Reason; got != test.reason {
					t.Errorf("Reason = %s, want %s", got, test.reason)
				}
			}
		})
	}
}

// A key that by mistake is listed for an algorithm of another type does not verify it.
func TestAlgorithmMustFitTheTypeOfTheKey(t *testing.T) {
	w := newWorld()
	key := *w.issuer.Keys["RS256"]
	key.Algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.HS256}
	w.issuer.Keys["RS256"] = &key
	if got := w.verifier().Verify(confused(t, "RS256", publicDER(t)), Want{}).Reason; got != SignatureInvalid {
		t.Errorf("Reason = %s, want %s", got, SignatureInvalid)
	}
}

// confused is a token signed by HMAC with what everybody knows of an RSA key.
func confused(t testing.TB, keyID string, secret []byte) string {
	t.Helper()
	text := segment(fields{"alg": "HS256", "kid": keyID, "typ": "at+jwt"}.json(t)) + "." + segment(goodClaims().json(t))
	return text + "." + segment(string(hmacSHA256(secret, []byte(text))))
}

func publicDER(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&fixedRSA.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// otherSpelling changes only bits of the last character that a lenient decoder ignores.
func otherSpelling(t testing.TB, raw string) string {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, raw[len(raw)-1])
	other := raw[:len(raw)-1] + string(alphabet[last^1])
	cut := strings.LastIndexByte(raw, '.') + 1
	before, err := base64.RawURLEncoding.DecodeString(raw[cut:])
	if err != nil {
		t.Fatal(err)
	}
	after, err := base64.RawURLEncoding.DecodeString(other[cut:])
	if err != nil || !bytes.Equal(before, after) {
		t.Fatalf("the other spelling does not mean the same: %v", err)
	}
	return other
}
