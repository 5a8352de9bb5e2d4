package token

import (
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Options bound the memory of tokens that were seen before.
type Options struct {
	// MaxEntries is the most tokens to remember. Default (0): 100,000. Negative: remember none.
	MaxEntries int
	// MaxBytes is about the most memory for them. Default (0): 64 MiB. Negative: remember none.
	MaxBytes int64
}

const (
	defaultMaxEntries = 100_000
	defaultMaxBytes   = 64 << 20
)

// Want is what a request needs of the token beside its being good.
type Want struct {
	// Issuers are those that the token may be of, each as the namespace and the name of its TokenIssuer with a slash in
	// between. Empty: any that is known.
	Issuers []string
	// Audiences are those that the token may be meant for: one of them must be in "aud". Empty: the issuer's default.
	Audiences []string
	// Scopes must all be in the token. Empty: the issuer's default.
	Scopes []string
	// AnyScope asks for none, not even the issuer's default: for whoever does not let the token in anywhere.
	AnyScope bool
}

// Result is what became of a token.
type Result struct {
	// Reason is Allowed, or why the token was denied.
	Reason Reason
	// Issuer is the snapshot that the token was checked against. Also for a denied token, once its issuer is known; then
	// it is what the token says, and perhaps not who made it. Otherwise nil.
	Issuer *Issuer
	// Claims are those of an allowed token, to be read only. Nil for a denied one: what it says is worth nothing.
	Claims *Claims
	// Header is that of an allowed token, and empty for a denied one.
	Header Header
	// Begun is when judging began: what depends on time was compared with it.
	Begun time.Time
}

// Allowed reports whether the token passed every check.
func (r Result) Allowed() bool { return r.Reason == Allowed }

// Verifier checks tokens against the issuers of a directory. It is safe for concurrent use.
type Verifier struct {
	directory Directory
	clock     clock.PassiveClock
	cache     *cache
	headers   *knownHeaders
	// inputs are reused, because what a function value is given is otherwise allocated anew.
	inputs sync.Pool
}

// NewVerifier returns a verifier that has seen no token.
func NewVerifier(directory Directory, clk clock.PassiveClock, options Options) *Verifier {
	v := &Verifier{
		directory: directory,
		clock:     clk,
		headers:   newKnownHeaders(),
		inputs:    sync.Pool{New: func() any { return new(input) }},
	}
	if options.MaxEntries == 0 {
		options.MaxEntries = defaultMaxEntries
	}
	if options.MaxBytes == 0 {
		options.MaxBytes = defaultMaxBytes
	}
	if options.MaxEntries > 0 && options.MaxBytes > 0 {
		v.cache = newCache(options.MaxEntries, options.MaxBytes, clk)
	}
	return v
}

// Verify checks a token in its compact form, as it was sent. A token that was seen before and is allowed costs no
// allocation. It waits for nothing, except for Issuer.Refetch.
func (v *Verifier) Verify(raw string, want Want) Result {
	in := v.inputs.Get().(*input)
	*in = input{verifier: v, raw: raw, want: want, now: v.clock.Now()}
	result := in.run()
	result.Begun = in.now
	// The token must not live on in the pool.
	*in = input{}
	v.inputs.Put(in)
	return result
}

func (in *input) run() Result {
	for _, check := range checklist {
		if reason := check(in); reason != Allowed {
			return Result{Reason: reason, Issuer: in.issuer}
		}
	}
	return Result{Reason: Allowed, Issuer: in.issuer, Claims: &in.token.claims, Header: *in.token.header}
}
