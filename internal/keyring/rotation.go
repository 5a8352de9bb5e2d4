package keyring

import (
	"fmt"
	"time"
)

// rotationChecks are what can ask for a rotation, the most telling first. Each returns "" or a sentence.
var rotationChecks = []func(now time.Time, policy Policy, ring *Ring) string{
	algorithmChanged,
	rotationRequested,
	periodOver,
}

// rotationReason returns why the active key should be exchanged now, or "".
func rotationReason(now time.Time, policy Policy, ring *Ring) string {
	for _, check := range rotationChecks {
		if reason := check(now, policy, ring); reason != "" {
			return reason
		}
	}
	return ""
}

func algorithmChanged(_ time.Time, policy Policy, ring *Ring) string {
	if policy.suits(ring.Active()) {
		return ""
	}
	return fmt.Sprintf("the algorithm or key size changed to %s", policy.Algorithm)
}

func rotationRequested(_ time.Time, policy Policy, ring *Ring) string {
	if policy.RotateRequest == "" || policy.RotateRequest == ring.HandledRequest {
		return ""
	}
	return "a rotation was requested"
}

func periodOver(now time.Time, policy Policy, ring *Ring) string {
	if now.Before(ring.Active().ActivatedAt.Add(policy.Period)) {
		return ""
	}
	return fmt.Sprintf("the rotation period of %s is over", policy.Period)
}

// suits says whether the key is of the algorithm and size that the policy asks for.
func (policy Policy) suits(key *Key) bool {
	return key.Algorithm == policy.Algorithm && key.Size == rsaSize(policy.Algorithm, policy.KeySize)
}

// RipeAt returns when Next may begin to sign, because every copy of the JWKS that lacks it has expired from every
// cache. It is false while Next has not been seen published, or while there is none.
func (r *Ring) RipeAt(now time.Time, policy Policy) (time.Time, bool) {
	next := r.Next()
	if next == nil {
		return time.Time{}, false
	}
	return next.ripeAt(now, policy, r)
}

func (k *Key) ripeAt(now time.Time, policy Policy, ring *Ring) (time.Time, bool) {
	if k.PublishedAt.IsZero() {
		return time.Time{}, false
	}
	ripe := k.PublishedAt.Add(ring.maxAgeAt(now) + policy.ClockSkew)
	if former := ring.FormerUntil; !former.IsZero() && ripe.After(former) {
		// No copy with the former max-age outlives FormerUntil.
		ripe = later(former, k.PublishedAt.Add(ring.MaxAge+policy.ClockSkew))
	}
	return ripe, true
}

// LongestMaxAge is a bound on the life of any copy of the JWKS that may be in a cache. It is published with the JWKS, for
// the day on which the ring is lost.
func (r *Ring) LongestMaxAge() time.Duration { return max(r.MaxAge, r.FormerMaxAge) }

// maxAgeAt is the longest life of any copy of the JWKS that may be in a cache.
func (r *Ring) maxAgeAt(now time.Time) time.Duration {
	if r.formerRuns() && (r.FormerUntil.IsZero() || now.Before(r.FormerUntil)) {
		return r.LongestMaxAge()
	}
	return r.MaxAge
}

// formerRuns says whether a longer max-age than the present one was ever in force.
func (r *Ring) formerRuns() bool { return r.FormerMaxAge > 0 }

// RotationAt returns when the next key takes over if nothing else asks for it: at the end of the period, or as soon as
// something asks, but not before Next is ripe. While Next has not been seen published nobody can tell better than the
// period. It does not move with now.
func (r *Ring) RotationAt(now time.Time, policy Policy) time.Time {
	active := r.Active()
	if active == nil {
		return now
	}
	at := active.ActivatedAt.Add(policy.Period)
	ripe, published := r.RipeAt(now, policy)
	switch {
	case !published:
		return at
	case rotationReason(now, policy, r) != "":
		return ripe
	default:
		return later(at, ripe)
	}
}

// Overdue says since when a rotation that should have happened has not. It is asked of a ring as it is stored: when the
// store takes no writes, the plan alone would never tell.
func (r *Ring) Overdue(now time.Time, policy Policy) (since time.Time, overdue bool) {
	active := r.Active()
	if active == nil {
		return now, true
	}
	since = active.ActivatedAt.Add(policy.Period)
	if ripe, published := r.RipeAt(now, policy); published {
		since = later(since, ripe)
	}
	return since, now.After(since)
}
