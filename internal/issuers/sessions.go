package issuers

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/keyturn/keyturn/internal/revocation"
	"github.com/keyturn/keyturn/internal/session"
)

// unknownOutlive is for how long access tokens are taken to live whose issuer is not known: the longest access
// lifetime, and an hour for clocks.
const unknownOutlive = session.MaxAccessLifetime + time.Hour

// deniedSession is one that DenySession was called for.
type deniedSession struct {
	name   types.NamespacedName
	issuer string
}

// DenySession denies the access tokens of a session on this replica, from the moment when it returns. It is for whoever
// ends the session: the other replicas, and this one after a restart, learn it from the watch.
func (r *Registry) DenySession(issuer types.NamespacedName, sessionID string) {
	r.putRule(issuer, sessionRule(sessionID))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.denied = append(r.denied, deniedSession{
		name: types.NamespacedName{Namespace: issuer.Namespace, Name: sessionID}, issuer: issuer.Name,
	})
}

// takeDenied returns those that DenySession was called for since it was last called.
func (r *Registry) takeDenied() []deniedSession {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.denied
	r.denied = nil
	return taken
}

// SessionRetention is for how long after its end the record of a session is needed, whichever its issuer: as long as
// one of its access tokens can be good. False before the first sync, when nobody can know.
func (r *Registry) SessionRetention() (time.Duration, bool) {
	synced, longest := r.Synced(), 2*session.DefaultClockError
	for name, s := range r.table.Load().byName {
		if !s.Load().external() {
			longest = max(longest, r.sessionTokensOutlive(name))
		}
	}
	return longest, synced
}

// sessionTokensOutlive is for how long an access token can be good that a replica signs at this moment, by a clock that
// may be fast.
func (r *Registry) sessionTokensOutlive(issuer types.NamespacedName) time.Duration {
	v := r.table.Load().named(issuer)
	lifetime, known := r.LongestLifetime(issuer)
	if v == nil || !known {
		return unknownOutlive
	}
	return lifetime + v.token.ClockSkew + 2*session.DefaultClockError
}

func sessionRule(sessionID string) revocation.Rule {
	return revocation.Rule{ID: "session", Kind: revocation.SessionID, Value: sessionID}
}
