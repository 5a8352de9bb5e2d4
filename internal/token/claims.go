package token

import (
	"cmp"
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
	// size is what compact has found to be the size of the texts and lists, in bytes. 0 before.
	size uint32
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
	var reader claimsReader
	ok := readObject(document, reader.member)
	return reader.claims, ok
}

type claimsReader struct {
	claims Claims
	// scoped is true once there was a "scope": a "scp" beside it does not count.
	scoped bool
}

func (r *claimsReader) member(in *object, name string) {
	claims := &r.claims
	switch name {
	case "iss":
		claims.Issuer = in.text()
	case "sub":
		claims.Subject = in.text()
	case "aud":
		claims.Audiences = in.texts()
	case "exp":
		claims.Expiry = in.moment()
	case "nbf":
		claims.NotBefore = in.moment()
	case "iat":
		claims.IssuedAt = in.moment()
	case "jti":
		claims.ID = in.text()
	case "client_id":
		claims.ClientID = cmp.Or(in.text(), claims.ClientID)
	case "azp":
		claims.ClientID = cmp.Or(claims.ClientID, in.text())
	case "sid":
		claims.SessionID = in.text()
	case "scope":
		claims.Scopes, r.scoped = separated(in.text()), true
	case "scp":
		if scopes := in.texts(); !r.scoped {
			claims.Scopes = scopes
			if len(scopes) == 1 {
				claims.Scopes = separated(scopes[0])
			}
		}
	case "typ":
		kind, ok := in.string()
		claims.foreign = claims.foreign || !ok || isForeign(kind)
	case "at_hash", "c_hash", "events":
		// An ID token has the first two (OpenID Connect Core 1.0 sections 3.1.3.6 and 3.3.2.11), and a logout token or a
		// security event the last one (RFC 8417 section 2.2).
		claims.foreign = true
		fallthrough
	default:
		if texts, ok := in.stringOrStrings(); ok {
			claims.others = append(claims.others, namedTexts{name, texts})
		}
	}
}

// lastMoment is the last second of the year 9999, beyond which no date has four digits.
const lastMoment = 253402300799

// moment reads what must be a NumericDate (RFC 7519 section 2): seconds since 1970, perhaps with a fraction. What is finer
// than a microsecond is rounding of the number itself.
func (o *object) moment() time.Time {
	number := o.number()
	if !(number >= 0 && number <= lastMoment) {
		o.mistyped = true
		return time.Time{}
	}
	seconds, fraction := math.Modf(number)
	return time.Unix(int64(seconds), int64(math.Round(fraction*1e6))*1000).UTC()
}

func separated(scopes string) []string {
	return strings.FieldsFunc(scopes, func(r rune) bool { return r == ' ' })
}

// isForeign reports whether a claim "typ" is one by which Keycloak marks tokens that are not access tokens.
func isForeign(kind string) bool {
	return slices.ContainsFunc([]string{"ID", "Refresh", "Offline", "Logout"}, func(foreign string) bool {
		return strings.EqualFold(kind, foreign)
	})
}

// compact moves all texts into one piece of memory and all lists into another: nothing else of the token is kept, and what
// is compared lies together. What they were read from is not changed.
func (c *Claims) compact() {
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
		if begin := len(together); *list != nil {
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
	//nolint:gosec // A token has at most MaxTokenBytes, and so a bounded number of each.
	c.size = uint32(bytes + count*int(unsafe.Sizeof("")) + len(c.others)*int(unsafe.Sizeof(namedTexts{})))
}
