// Package servingcert keeps the certificate that the HTTPS server serves with: signed by an authority of its own, kept
// in a Secret that every replica watches, and renewed long before it expires. Nobody has to install or renew anything,
// and clients trust one ca.crt whichever replica they reach.
//
// Two Secrets hold it, in one namespace. The Secret that the operator is told, of the type kubernetes.io/tls, has
// tls.crt and tls.key, and in ca.crt every authority that clients have to trust. A second one, named like it with
// "-ca", has the authorities with their keys. They are apart because the first is there to be mounted: whoever can
// read it can pass for Keyturn until the certificate expires, after weeks, while the key of an authority is good for
// years, and for any name. The second Secret is the truth, and the first can be made from it at any time.
//
// A ConfigMap named like the first Secret repeats its ca.crt, for those who must not read the key: gateways mount it.
//
// Plan decides what must be in them, without any I/O. Keeper, on every replica, reads, plans and writes by
// compare-and-swap: whichever replica comes first makes or renews, and the others take over what it has written. So
// there is no leader to wait for, and a certificate is there before the first one is elected.
//
// A new authority stands in ca.crt for Policy.Overlap before it signs what is served, and an old one as long as its
// own certificate lasts. So a client that reads ca.crt again at least that often trusts every replica at all times,
// also one that is cut off from the API server and goes on with a certificate of long ago.
//
// What there is in libraries has been weighed. cert-controller of the Open Policy Agent reads a mounted Secret, puts
// both keys into it, replaces an authority at once, without an overlap, and asks for rights in the whole cluster
// because its business is to patch webhooks. The authority of cert-manager's webhook is close, but it drops the old
// authority when it makes a new one, and comes with all of cert-manager. OpenShift's library-go knows a signer, a
// bundle and a target, much as is done here, but comes with OpenShift's API and its clients. What remains is little:
// the encodings are those of client-go, everything about certificates is crypto/x509, and the rest is when to do what.
package servingcert

import "time"

// Policy says how long things last.
type Policy struct {
	// AuthorityLifetime is that of an authority. The next one is made after two thirds of it; the last third must be
	// longer than LeafLifetime and Overlap together, because the old one signs until the next one may.
	AuthorityLifetime time.Duration
	// LeafLifetime is that of a serving certificate. It is renewed after two thirds of it. An authority that would expire
	// sooner than a new serving certificate signs no more.
	LeafLifetime time.Duration
	// Overlap is how long a new authority stands in ca.crt before it signs, and so how often clients must read ca.crt. It
	// must be less than a quarter of LeafLifetime: then it has passed before a certificate becomes too old to wait for
	// it, also when the key of the authority that signed it is lost.
	Overlap time.Duration
	// ClockSkew is how far any two clocks may differ. Certificates begin that much early.
	ClockSkew time.Duration
}

// DefaultPolicy is what the operator runs with.
var DefaultPolicy = Policy{
	AuthorityLifetime: 10 * 365 * 24 * time.Hour,
	LeafLifetime:      90 * 24 * time.Hour,
	Overlap:           14 * 24 * time.Hour,
	ClockSkew:         time.Hour,
}

// MaxAuthorities bounds how many authorities clients are told to trust. There are one or two, unless authorities are
// lost again and again.
const MaxAuthorities = 16
