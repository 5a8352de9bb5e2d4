// Package revocation holds the rules that deny tokens, and the index that a verifier asks on every request.
package revocation

import (
	"time"
)

// Kind says which fact of a token a rule matches.
type Kind uint8

// The kinds of rules, one for each target of a TokenRevocation.
const (
	TokenID Kind = iota + 1
	SessionID
	Subject
	ClientID
	Audience
	KeyID
	All
)

// Rule denies the tokens of one issuer for which the fact of its kind equals Value.
type Rule struct {
	// ID is unique among all rules, such as the UID of the object that the rule comes from.
	ID string
	// Kind is the fact that is compared.
	Kind Kind
	// Value is what it is compared with. Empty for All.
	Value string
	// IssuedBefore limits Subject, ClientID, Audience and All to tokens whose "iat" is before it. Ignored otherwise.
	IssuedBefore time.Time
}

// Facts are what the rules of an issuer can match in one token. Absent claims are empty.
type Facts struct {
	TokenID   string
	SessionID string
	Subject   string
	ClientID  string
	KeyID     string
	Audiences []string
	IssuedAt  time.Time
}
