package authserver

import (
	"hash/maphash"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/lru"

	"github.com/keyturn/keyturn/internal/session"
)

// limit names a rate limit. It is a metric label, so the set is closed.
type limit string

// The limits. Each has a table of its own, so that a flood of new keys in one of them drops no counts in another.
const (
	// limitAddress counts what one client address sends with which somebody logs in: a password or an ID token.
	limitAddress limit = "LoginPerAddress"
	// limitUser counts the passwords that are tried for one user name.
	limitUser limit = "LoginPerUser"
	// limitExchange counts the ID tokens of one client address that were refused at the token endpoint. Those that are good
	// are not counted: the client is a server then, and one address may be all of its users.
	limitExchange limit = "ExchangePerAddress"
	// limitWorkload counts the ServiceAccount tokens of one client address that were refused.
	limitWorkload limit = "WorkloadPerAddress"
	// limitRefresh counts the refreshes of one session.
	limitRefresh limit = "RefreshPerSession"
	// limitEnd counts the logouts and revocations of one session: apart from its refreshes, so that whoever has used them up
	// can still log out.
	limitEnd limit = "EndPerSession"
)

var allLimits = []limit{limitAddress, limitUser, limitExchange, limitWorkload, limitRefresh, limitEnd}

// maxLimiters bounds the keys of one limit that are remembered: about 6 MiB when it is full. The one that was not seen for
// the longest time goes first, and is then as one that was never seen. Whoever wants to be forgotten so must come from as
// many addresses; a session's key cannot be invented.
const maxLimiters = 16384

// limits count requests by their keys. A key may be used as often in a minute as its number says, all at once if it was
// not used before. This replica counts for itself.
type limits struct {
	tables map[limit]*limiters
	// seed makes it impossible to look for two names with one key.
	seed maphash.Seed
}

type limiters struct {
	mu    sync.Mutex
	cache *lru.Cache
}

func newLimits() *limits {
	l := &limits{tables: map[limit]*limiters{}, seed: maphash.MakeSeed()}
	for _, name := range allLimits {
		l.tables[name] = &limiters{cache: lru.New(maxLimiters)}
	}
	return l
}

// key is what a request is counted by. Names are the client's and of any length, so that only a hash of them is kept.
func (l *limits) key(c *call, of string) uint64 {
	name := c.authority.Name
	return maphash.String(l.seed, name.Namespace+"/"+name.Name+"/"+of)
}

// byAddress counts the /64 of an IPv6 address as one: that is what one customer has.
func (l *limits) byAddress(c *call) uint64 {
	client := c.info.Client.Unmap()
	if client.Is6() {
		if network, err := client.Prefix(64); err == nil {
			client = network.Addr()
		}
	}
	return l.key(c, client.String())
}

func (l *limits) bySession(c *call, id session.ID) uint64 { return l.key(c, id.String()) }

// find returns the limiter of a key, with the number that the issuer has now.
func (l *limits) find(name limit, key uint64, perMinute int32, now time.Time) *rate.Limiter {
	table := l.tables[name]
	number := max(1, int(perMinute))
	each := rate.Limit(float64(number) / time.Minute.Seconds())
	table.mu.Lock()
	defer table.mu.Unlock()
	if known, found := table.cache.Get(key); found {
		limiter := known.(*rate.Limiter)
		if limiter.Burst() != number {
			limiter.SetLimitAt(now, each)
			limiter.SetBurstAt(now, number)
		}
		return limiter
	}
	limiter := rate.NewLimiter(each, number)
	table.cache.Add(key, limiter)
	return limiter
}

// take counts one request, and refuses it when there were too many.
func (s *Server) take(c *call, name limit, key uint64, perMinute int32) *refusal {
	now := s.options.Clock.Now()
	reservation := s.limits.find(name, key, perMinute, now).ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	reservation.CancelAt(now)
	return s.slowDown(c, name, wait)
}

// spent refuses a request when its key has used up its number, and counts nothing: failed does, once it is known to.
func (s *Server) spent(c *call, name limit, key uint64, perMinute int32) *refusal {
	now := s.options.Clock.Now()
	limiter := s.limits.find(name, key, perMinute, now)
	missing := 1 - limiter.TokensAt(now)
	if missing <= 0 {
		return nil
	}
	return s.slowDown(c, name, time.Duration(missing/float64(limiter.Limit())*float64(time.Second)))
}

// failed counts a request that was refused.
func (s *Server) failed(name limit, key uint64, perMinute int32) {
	now := s.options.Clock.Now()
	s.limits.find(name, key, perMinute, now).AllowN(now, 1)
}

func (s *Server) slowDown(c *call, name limit, wait time.Duration) *refusal {
	s.metrics.limited.WithLabelValues(issuerName(c.authority), string(name)).Inc()
	return &refusal{
		status: http.StatusTooManyRequests, code: codeSlowDown, retryAfter: max(wait, time.Second),
		description: "There were too many requests of this kind; ask again after the seconds in Retry-After.",
	}
}
