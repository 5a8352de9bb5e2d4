// Package login finds out who somebody is, in the three ways that spec.sessions.login offers: by a user name and a
// password, by the ServiceAccount token of a workload, and by the ID token of a trusted issuer. What becomes of it, and
// how it is asked and answered over HTTP, is none of its business.
//
// Anybody can ask. So what costs something elsewhere, a read of a Secret, a review of a token, a fetch of keys, is done
// for a question that is plausible, once at a time, and its answer is kept for seconds; the bounds are constants here.
// The price is that a change in the cluster takes effect after those seconds:
//
//	a user is added, removed, gets another password   2 s
//	RBAC grants a workload the verb                   2 s
//	RBAC does so no longer                            10 s
//	a ServiceAccount or the pod of its token is gone  10 s, and the 10 s that kube-apiserver itself remembers a token
//	an upstream has a new key                         at once, but not within 5 s of the last fetch
//	an upstream withdraws a key                       10 min; while it cannot be reached, 1 h
//
// The errors say what to do about it to whoever reads the log. A client is told no more than which of the five it is.
package login

import (
	"errors"

	"github.com/keyturn/keyturn/internal/session"
)

// Identity is somebody who was authenticated.
type Identity struct {
	// Subject is the value of the claim "sub": the prefix of the source and the name there, at most 256 bytes.
	Subject string
	// Claims is what the login says beside the subject, nil for nothing: of an ID token what the spec maps, in at most
	// 8 KiB of JSON, with numbers as json.Number; of a password nothing.
	Claims map[string]any
	// Source is how the subject was authenticated.
	Source session.Source
	// Client is the OAuth client that an ID token was issued to: its "azp", or else the first of its "aud" that the spec
	// accepts. Empty for other sources.
	Client string
}

// The errors of this package. They are wrapped in what was being done.
var (
	// ErrRefused says that the client must send something else. For a password it says no more than that: not whether
	// there is such a user.
	ErrRefused = errors.New("the user name, password or token is not accepted")
	// ErrForbidden says that the workload is known, and RBAC does not grant it the verb.
	ErrForbidden = errors.New("the workload lacks the right")
	// ErrUnavailable says that nothing could be decided now: the same question can have a good answer later.
	ErrUnavailable = errors.New("it cannot be told now who this is")
	// ErrNotOffered says that the issuer does not offer this way to log in.
	ErrNotOffered = errors.New("the issuer does not offer this way to log in")
	// ErrBusy says that too many others are being checked: ask again in a second.
	ErrBusy = errors.New("too many logins are being checked at once")
)
