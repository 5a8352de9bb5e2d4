package session

import "time"

// Outcome is what to do about a refresh token that was presented.
type Outcome struct {
	Reason Reason
	// Write says whether State must be written, by compare-and-swap on the very record that was judged. Nothing may be
	// answered before it has succeeded.
	Write bool
	// State is what to write. It is that of the record if there is nothing to write.
	State State
}

// Ends reports whether the outcome ends the session.
func (o Outcome) Ends() bool { return o.Write && !o.State.EndedAt.IsZero() }

// Classify decides about a refresh token. It does no I/O and reads no clock; stored is the record of the token's session,
// or nil when there is none. With g the generation of the token and G that of the record:
//
//	g = G                              Rotated: G+1 is written
//	g = G-1, the grace window is open  Repeated: nothing is written
//	g = G-1 later, or any older one    Reused: the session ends
//	g > G                              MovedForward: g+1 is written; or RolledBack: the session ends, without any
//	                                   talk of theft, because it is the store that has forgotten
//
// Nothing is written for a token that the session's keys do not vouch for, nor for a session that is over.
func Classify(presented Presented, stored *Session, now time.Time, policy Policy) Outcome {
	c := classifier{presented: presented, stored: stored, now: now.UTC().Truncate(statePrecision), policy: policy}
	for _, check := range checks {
		if reason := check(&c); reason != Good {
			outcome := Outcome{Reason: reason}
			if stored != nil {
				outcome.State = stored.State
			}
			return outcome
		}
	}
	return c.byGeneration()
}

type classifier struct {
	presented Presented
	stored    *Session
	now       time.Time
	policy    Policy
}

// checks refuse without writing. Their order matters: until the mac is known to be good, the token says nothing about any
// session, and must change none.
var checks = []func(*classifier) Reason{
	checkFound, checkMAC, checkClient, checkEnded, checkExpiry, checkAudiences,
}

func checkFound(c *classifier) Reason {
	if c.stored == nil {
		return NotFound
	}
	return Good
}

func checkMAC(c *classifier) Reason {
	if !c.presented.vouchesFor(c.stored) {
		return MACInvalid
	}
	return Good
}

func checkClient(c *classifier) Reason {
	if c.presented.ClientID != "" && c.presented.ClientID != c.stored.ClientID {
		return ClientMismatch
	}
	return Good
}

func checkEnded(c *classifier) Reason {
	if !c.stored.EndedAt.IsZero() {
		return Ended
	}
	return Good
}

func checkExpiry(c *classifier) Reason {
	absolute, idle := c.policy.expiry(c.stored)
	switch {
	case !c.now.Before(absolute):
		return Expired
	case !c.now.Before(idle):
		return IdleExpired
	}
	return Good
}

func checkAudiences(c *classifier) Reason {
	if audiences, _ := c.policy.Grants(c.stored); len(audiences) == 0 {
		return Withdrawn
	}
	return Good
}

func (c *classifier) byGeneration() Outcome {
	presented, current := c.presented.Generation, c.stored.Generation
	switch {
	case presented == current:
		return c.rotate(Rotated)
	case presented > current && c.policy.EndAfterRollback:
		return c.end(RolledBack, EndRollback)
	case presented > current:
		return c.rotate(MovedForward)
	case presented == current-1 && c.policy.inGrace(c.stored.RotatedAt, c.now):
		return Outcome{Reason: Repeated, State: c.stored.State}
	default:
		return c.end(Reused, EndReuse)
	}
}

func (c *classifier) rotate(reason Reason) Outcome {
	absolute, _ := c.policy.expiry(c.stored)
	return Outcome{Reason: reason, Write: true, State: State{
		Generation: c.presented.Generation + 1,
		RotatedAt:  c.now,
		IdleUntil:  earlier(c.now.Add(c.policy.IdleLifetime), absolute).Truncate(statePrecision),
	}}
}

func (c *classifier) end(reason Reason, why EndReason) Outcome {
	return Outcome{Reason: reason, Write: true, State: c.stored.Ended(c.now, why)}
}
