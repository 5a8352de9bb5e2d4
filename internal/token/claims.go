package token

import (
	"math"
	"slices"
	"strings"
	"time"
	"unsafe"
)

// Claims are the claims of a token (RFC 7519 section 4.1, RFC 9068 section 2.2). They are shared by all requests with
// the same token, so nothing in them may be changed. Absent claims are zero.
type Claims struct {
	// Issuer is "iss".
	Issuer string
	// Subject is "sub".
	Subject string
	// Audiences are "aud", which may be one string or a list.
	Audiences []string
	// Expiry is "exp", NotBefore is "nbf" and IssuedAt is "iat", in UTC, to the microsecond.
	Expiry, NotBefore, IssuedAt time.Time
	// ID is "jti".
	ID string
	// ClientID is "client_id", or "azp" where there is none.
	ClientID string
	// SessionID is "sid".
	SessionID string
	// Scopes are "scope", separated by spaces (RFC 6749 section 3.3), or else "scp", which may be a list.
	Scopes []string

	// others are the remaining claims that are a string or a list of strings.
	others []namedTexts
	// foreign is true when the claims are those of something else than an access token.
	foreign bool
}

// namedTexts is a claim. A list of them is a third of the size of a map.
type namedTexts struct {
	name  string
	texts []string
}

// MaxGroups is how many groups of a token count. The rest is left out: a group can only add to what the subject may do.
const MaxGroups = 512

// Groups returns the claim of this name where it is a list of strings or one string, and at most MaxGroups of it. Claims
// that have a field in Claims are not found.
func (c *Claims) Groups(claim string) []string {
	for _, other := range c.others {
		if other.name == claim {
			count := min(len(other.texts), MaxGroups)
			return other.texts[:count:count]
		}
	}
	return nil
}

// parseClaims reads the decoded payload of a token. It reports whether all claims have the right types; which of them
// must be there is not its concern.
func parseClaims(document []byte) (Claims, bool) {
	object, ok := decodeObject(document)
	if !ok {
		return Claims{}, false
	}
	in := members{object: object}
	claims := Claims{
		Issuer:    in.text("iss"),
		Subject:   in.text("sub"),
		Audiences: in.texts("aud"),
		Expiry:    in.moment("exp"),
		NotBefore: in.moment("nbf"),
		IssuedAt:  in.moment("iat"),
		ID:        in.text("jti"),
		ClientID:  in.text("client_id"),
		SessionID: in.text("sid"),
		Scopes:    in.scopes(),
		others:    in.others(),
		foreign:   in.foreign(),
	}
	if authorized := in.text("azp"); claims.ClientID == "" {
		claims.ClientID = authorized
	}
	return claims, !in.broken
}

// lastMoment is the last second of the year 9999, beyond which no date has four digits.
const lastMoment = 253402300799

// moment returns a member that must be a NumericDate (RFC 7519 section 2) if it is there: seconds since 1970, perhaps
// with a fraction. What is finer than a microsecond is rounding of the number itself.
func (m *members) moment(name string) time.Time {
	value, ok := m.object[name]
	if !ok {
		return time.Time{}
	}
	number, ok := value.(float64)
	if !ok || !(number >= 0 && number <= lastMoment) {
		m.broken = true
		return time.Time{}
	}
	seconds, fraction := math.Modf(number)
	return time.Unix(int64(seconds), int64(math.Round(fraction*1e6))*1000).UTC()
}

func (m *members) scopes() []string {
	scopes, list := m.text("scope"), m.texts("scp")
	if m.has("scope") {
		return separated(scopes)
	}
	if len(list) == 1 {
		return separated(list[0])
	}
	return list
}

func separated(scopes string) []string {
	return strings.FieldsFunc(scopes, func(r rune) bool { return r == ' ' })
}

// claimsWithFields are those that others leaves out.
var claimsWithFields = map[string]bool{
	"iss": true, "sub": true, "aud": true, "exp": true, "nbf": true, "iat": true, "jti": true,
	"client_id": true, "azp": true, "sid": true, "scope": true, "scp": true, "typ": true,
}

func (m *members) others() []namedTexts {
	var others []namedTexts
	for name, value := range m.object {
		if claimsWithFields[name] {
			continue
		}
		if texts, ok := stringOrStrings(value); ok {
			others = append(others, namedTexts{name, texts})
		}
	}
	return slices.Clip(others)
}

// foreignTypes are the values of the claim "typ" by which Keycloak marks tokens that are not access tokens.
var foreignTypes = []string{"ID", "Refresh", "Offline", "Logout"}

// foreign reports whether the claims are those of an ID token (at_hash, c_hash: OpenID Connect Core 1.0 sections 3.1.3.6
// and 3.3.2.11), of a logout token or a security event (events: RFC 8417 section 2.2), or say so themselves.
func (m *members) foreign() bool {
	if m.has("at_hash") || m.has("c_hash") || m.has("events") {
		return true
	}
	kind := m.object["typ"]
	text, ok := kind.(string)
	if !ok {
		return m.has("typ")
	}
	for _, foreign := range foreignTypes {
		if strings.EqualFold(text, foreign) {
			return true
		}
	}
	return false
}

// compact moves all texts into one piece of memory and all lists into another, because reading what lies all over the heap
// takes longer than comparing it. What they were read from is not changed. It returns the size of the claims in bytes
// beside that of the struct itself.
func (c *Claims) compact() int {
	c.others = slices.Clone(c.others)
	texts := append(make([]*string, 0, 24), &c.Issuer, &c.Subject, &c.ID, &c.ClientID, &c.SessionID)
	lists := append(make([]*[]string, 0, 8), &c.Audiences, &c.Scopes)
	for i := range c.others {
		texts, lists = append(texts, &c.others[i].name), append(lists, &c.others[i].texts)
	}
	count := 0
	for _, list := range lists {
		count += len(*list)
	}
	together := make([]string, 0, count)
	for _, list := range lists {
		if begin := len(together); len(*list) > 0 {
			together = append(together, *list...)
			*list = together[begin:len(together):len(together)]
		}
	}
	bytes := 0
	for i := range together {
		texts = append(texts, &together[i])
	}
	for _, text := range texts {
		bytes += len(*text)
	}
	var joined strings.Builder
	joined.Grow(bytes)
	for _, text := range texts {
		begin := joined.Len()
		joined.WriteString(*text)
		*text = joined.String()[begin:]
	}
	return bytes + count*int(unsafe.Sizeof("")) + len(c.others)*int(unsafe.Sizeof(namedTexts{}))
}
