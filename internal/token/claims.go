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

// Groups returns the claim of this name where it is a list of strings or one string, and at most MaxGroups of it. "typ" and
// claims that have a field in Claims are not found.
func (c *Claims) Groups(claim string) []string {
	for _, other := range c.others {
		if other.name == claim {
			count := min(len(other.texts), MaxGroups)
			return other.texts[:count:count]
		}
	}
	return nil
}

// parse reads the decoded payload of a token into c, which must be empty. It reports whether all claims have the right
// types; which of them must be there is not its concern.
func (c *Claims) parse(document []byte) bool {
	reader := claimsReader{Claims: c}
	return readObject(document, reader.member)
}

type claimsReader struct {
	*Claims
	// scoped is true once there was a "scope": a "scp" beside it does not count.
	scoped bool
}

func (c *claimsReader) member(in *object, name string) {
	switch name {
	case "iss":
		c.Issuer = in.text()
	case "sub":
		c.Subject = in.text()
	case "aud":
		c.Audiences = in.texts()
	case "exp":
		c.Expiry = in.moment()
	case "nbf":
		c.NotBefore = in.moment()
	case "iat":
		c.IssuedAt = in.moment()
	case "jti":
		c.ID = in.text()
	case "client_id":
		c.ClientID = cmp.Or(in.text(), c.ClientID)
	case "azp":
		c.ClientID = cmp.Or(c.ClientID, in.text())
	case "sid":
		c.SessionID = in.text()
	case "scope":
		c.Scopes, c.scoped = separated(in.text()), true
	case "scp":
		if scopes := in.texts(); !c.scoped {
			c.Scopes = scopes
			if len(scopes) == 1 {
				c.Scopes = separated(scopes[0])
			}
		}
	case "typ":
		kind, ok := in.string()
		c.foreign = c.foreign || !ok || isForeign(kind)
	case "at_hash", "c_hash", "events":
		// An ID token has the first two (OpenID Connect Core 1.0 sections 3.1.3.6 and 3.3.2.11), and a logout token or a
		// security event the last one (RFC 8417 section 2.2).
		c.foreign = true
		fallthrough
	default:
		if texts, ok := in.stringOrStrings(); ok {
			c.others = append(c.others, namedTexts{name, texts})
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
// is compared lies together. Nobody else may have the claims yet. Those that are compact already stay as they are.
func (c *Claims) compact() {
	if c.size > 0 {
		return
	}
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
	c.size = uint32(bytes + count*int(unsafe.Sizeof("")) + cap(c.others)*int(unsafe.Sizeof(namedTexts{})))
}
