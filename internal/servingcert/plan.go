package servingcert

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bundle is what the two Secrets hold.
type Bundle struct {
	// Authorities are those that clients trust, oldest first.
	Authorities []Authority
	// Trusted is ca.crt: the certificates of Authorities, that of the leaf's signer first, because some clients read
	// only one. Empty when there is none.
	Trusted []*x509.Certificate
	// Leaf is what replicas serve with; nil when there is none.
	Leaf *Leaf
}

// Decision is what to do about a bundle. The authorities are written first, and the Secret that is derived from them
// only after that has succeeded. After a write, plan again with what is read then.
type Decision struct {
	// Bundle is the bundle as it must be.
	Bundle Bundle
	// AuthorityChanges are sentences about what changes with the authorities; empty if that Secret need not be written.
	AuthorityChanges []string
	// ServingChanged says whether the other Secret must be written. LeafChange is a sentence about that if it gets a new
	// certificate.
	ServingChanged bool
	LeafChange     string
	// Wake is when to plan again if nothing is observed earlier.
	Wake time.Time
}

// Changed says whether anything must be written.
func (d *Decision) Changed() bool { return len(d.AuthorityChanges) > 0 || d.ServingChanged }

// servable says whether clients accept the serving certificate at this time.
func (b *Bundle) servable(now time.Time) bool {
	return b.Leaf != nil && b.Leaf.validAt(now) && slices.ContainsFunc(b.Trusted, func(trusted *x509.Certificate) bool {
		return b.Leaf.Certificate().CheckSignatureFrom(trusted) == nil
	})
}

// Plan decides what must be in the Secrets. It does no I/O and reads no clock, and does not change what it is given;
// only the keys that it makes are random, and the only errors are those of making them.
func Plan(now time.Time, hosts Hosts, policy Policy, current Bundle) (Decision, error) {
	p := planner{now: now, hosts: hosts, policy: policy, current: current}
	p.authorities, p.leaf = slices.Clone(current.Authorities), current.Leaf
	p.adopt()
	p.notePublished()
	p.dropExpired()
	if err := p.renewAuthority(); err != nil {
		return Decision{}, err
	}
	if err := p.renewLeaf(); err != nil {
		return Decision{}, err
	}
	p.retire()
	trusted := p.trusted()
	p.ServingChanged = p.ServingChanged || !slices.EqualFunc(trusted, current.Trusted, (*x509.Certificate).Equal)
	p.Bundle = Bundle{Authorities: p.authorities, Trusted: trusted, Leaf: p.leaf}
	p.Wake = p.wake()
	return p.Decision, nil
}

type planner struct {
	now     time.Time
	hosts   Hosts
	policy  Policy
	current Bundle

	authorities []Authority
	leaf        *Leaf
	// judged is the leaf that leafSigner has looked at last, and signedBy what it has found: a signature is slow to
	// check.
	judged   *Leaf
	signedBy *x509.Certificate
	Decision
}

func (p *planner) changedAuthorities(format string, args ...any) {
	p.AuthorityChanges = append(p.AuthorityChanges, fmt.Sprintf(format, args...))
}

// adopt takes over what stands in ca.crt and is not known, when the Secret with the keys was lost or is an old one
// from a backup: clients have been told to trust it, and some replica may still serve what it has signed.
func (p *planner) adopt() {
	for _, certificate := range p.current.Trusted {
		known := slices.ContainsFunc(p.authorities, func(a Authority) bool { return a.Certificate.Equal(certificate) })
		if known || !oneOfOurs(certificate) || p.expired(certificate) || len(p.authorities) == MaxAuthorities {
			continue
		}
		p.authorities = append(p.authorities, Authority{Certificate: certificate, PublishedAt: p.now})
		p.changedAuthorities("took over the authority %s, which clients trust and whose key is lost", nameOf(certificate))
	}
	slices.SortStableFunc(p.authorities, func(a, b Authority) int {
		return a.Certificate.NotBefore.Compare(b.Certificate.NotBefore)
	})
}

// notePublished notes which authorities clients can read in ca.crt. One that has left it, as an old backup of the
// Secret makes it do, begins again. A time that a clock which ran ahead has left in the future is pulled back.
func (p *planner) notePublished() {
	for i := range p.authorities {
		authority := &p.authorities[i]
		published := slices.ContainsFunc(p.current.Trusted, authority.Certificate.Equal)
		latest := p.now.Add(p.policy.ClockSkew)
		switch {
		case published && authority.PublishedAt.IsZero():
			authority.PublishedAt = p.now
			p.changedAuthorities("noted that clients can read the authority %v", authority)
		case !published && len(p.current.Trusted) > 0 && !authority.PublishedAt.IsZero():
			authority.PublishedAt = time.Time{}
			p.changedAuthorities("noted that clients cannot read the authority %v any more", authority)
		case authority.PublishedAt.After(latest):
			authority.PublishedAt = latest
			p.changedAuthorities("corrected the time of the authority %v, which was in the future", authority)
		}
	}
}

func (p *planner) expired(certificate *x509.Certificate) bool {
	return p.now.After(certificate.NotAfter.Add(p.policy.ClockSkew))
}

// dropExpired forgets authorities that no client accepts any more.
func (p *planner) dropExpired() {
	p.authorities = slices.DeleteFunc(p.authorities, func(a Authority) bool {
		if p.expired(a.Certificate) {
			p.changedAuthorities("dropped the authority %v, which has expired", a)
		}
		return p.expired(a.Certificate)
	})
}

// renewAuthority makes the next authority in time. It signs later: see signer.
func (p *planner) renewAuthority() error {
	var reason string
	newest := p.newest(func(a *Authority) bool { return a.canSign(p.now, p.policy) })
	switch {
	case newest == nil:
		reason = "there is none that can sign"
	case !p.now.Before(renewAt(newest.Certificate)):
		reason = "two thirds of the life of the one before are over"
	default:
		return nil
	}
	authority, err := newAuthority(p.now, p.policy)
	if err != nil {
		return err
	}
	p.makeRoom()
	if len(p.current.Trusted) == 0 && p.leaf == nil {
		// Whoever reads ca.crt finds it there, from the first time on.
		authority.PublishedAt = p.now
	}
	p.authorities = append(p.authorities, authority)
	p.changedAuthorities("made the authority %v, because %s", authority, reason)
	return nil
}

// makeRoom drops the oldest authority if there are as many as there may be, but not the one that clients need now.
func (p *planner) makeRoom() {
	if len(p.authorities) < MaxAuthorities {
		return
	}
	oldest := 0
	if p.leafSigner() == &p.authorities[oldest] {
		oldest++
	}
	p.changedAuthorities("dropped the authority %v, because there are %d", p.authorities[oldest], MaxAuthorities)
	p.authorities = slices.Delete(p.authorities, oldest, oldest+1)
}

// newest returns the last authority that is as wanted, or nil.
func (p *planner) newest(wanted func(*Authority) bool) *Authority {
	for i := len(p.authorities) - 1; i >= 0; i-- {
		if wanted(&p.authorities[i]) {
			return &p.authorities[i]
		}
	}
	return nil
}

// leafSigner returns the authority that has signed the serving certificate; nil if none of ours has.
func (p *planner) leafSigner() *Authority {
	if p.leaf == nil {
		return nil
	}
	if p.judged != p.leaf {
		p.judged, p.signedBy = p.leaf, nil
		if signer := p.newest(func(a *Authority) bool { return a.signed(p.leaf.Certificate()) }); signer != nil {
			p.signedBy = signer.Certificate
		}
	}
	return p.newest(func(a *Authority) bool { return a.Certificate == p.signedBy })
}

// ripe returns the newest authority that can sign and that every client trusts by now.
func (p *planner) ripe() *Authority {
	return p.newest(func(a *Authority) bool { return a.canSign(p.now, p.policy) && a.ripe(p.now, p.policy) })
}

// signer returns the authority to sign with, and whether clients trust it already: because it has been in ca.crt for
// long enough, or because it has signed what is served now.
func (p *planner) signer() (signer *Authority, trusted bool) {
	if ripe := p.ripe(); ripe != nil {
		return ripe, true
	}
	if signer := p.leafSigner(); signer != nil && signer.canSign(p.now, p.policy) {
		return signer, true
	}
	for i := range p.authorities {
		if p.authorities[i].canSign(p.now, p.policy) {
			return &p.authorities[i], false
		}
	}
	return nil, false // unreachable: renewAuthority has seen to it
}

// renewLeaf replaces the serving certificate if it must be.
func (p *planner) renewLeaf() error {
	signer, trusted := p.signer()
	reason, hosts := p.leafReason(trusted)
	if reason == "" {
		return nil
	}
	leaf, err := signer.issue(p.now, hosts, p.policy)
	if err != nil {
		return err
	}
	p.leaf, p.ServingChanged = leaf, true
	p.LeafChange = fmt.Sprintf("made the serving certificate %v for %s, because %s",
		leaf, strings.Join(hosts, ", "), reason)
	return nil
}

// leafReason says why the serving certificate must be replaced, and for which hosts; "" if it need not be. What can
// wait does so until there is an authority that clients trust.
//
// Hosts are only added while a certificate lasts, and those that nobody wants any more leave with its renewal.
// Otherwise replicas that are told different hosts, as in every rollout that changes them, would replace each other's
// certificate until the last of the old ones is gone.
func (p *planner) leafReason(trusted bool) (string, Hosts) {
	switch {
	case p.leaf == nil:
		return "there is none that can be read", p.hosts
	case p.leafSigner() == nil:
		return "none of the authorities has signed the one before", p.hosts
	case !p.leaf.validAt(p.now):
		return "the one before is not valid at this time", p.hosts
	case !p.now.Before(p.leaf.lastMoment()):
		return "the one before expires soon", p.hosts
	case !trusted:
		return "", nil
	case !p.now.Before(renewAt(p.leaf.Certificate())):
		return "two thirds of the life of the one before are over", p.hosts
	}
	had := hostsOf(p.leaf.Certificate())
	if missing := p.hosts.without(had); len(missing) > 0 {
		return "the one before is not good for " + strings.Join(missing, ", "), p.hosts.with(had)
	}
	return "", nil
}

// retire forgets the keys of authorities that will never sign again, because a newer one does.
func (p *planner) retire() {
	ripe := p.ripe()
	if ripe == nil {
		return
	}
	for i := range p.authorities {
		authority := &p.authorities[i]
		if authority == ripe {
			return
		}
		if authority.key != nil {
			authority.key = nil
			p.changedAuthorities("the authority %v signs no more", authority)
		}
	}
}

// trusted is ca.crt.
func (p *planner) trusted() []*x509.Certificate {
	var certificates []*x509.Certificate
	signer := p.leafSigner()
	for i := len(p.authorities) - 1; i >= 0; i-- {
		if authority := &p.authorities[i]; authority == signer {
			certificates = slices.Insert(certificates, 0, authority.Certificate)
		} else {
			certificates = append(certificates, authority.Certificate)
		}
	}
	return certificates
}

// wake returns the earliest time after now at which anything above may come out differently.
func (p *planner) wake() time.Time {
	leaf := p.leaf.Certificate()
	times := []time.Time{renewAt(leaf), p.leaf.lastMoment()}
	for i := range p.authorities {
		authority := &p.authorities[i]
		times = append(times, authority.Certificate.NotBefore, renewAt(authority.Certificate), authority.ripeAt(p.policy),
			authority.Certificate.NotAfter.Add(-p.policy.LeafLifetime), authority.Certificate.NotAfter.Add(p.policy.ClockSkew))
	}
	times = slices.DeleteFunc(times, func(at time.Time) bool { return !at.After(p.now) })
	if len(times) == 0 {
		return p.now.Add(p.policy.ClockSkew) // unreachable: the leaf was just judged to last
	}
	// Some of these conditions hold only after that time, and certificates count whole seconds.
	return slices.MinFunc(times, time.Time.Compare).Add(time.Second)
}
