package login

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// maxWorkloadTokenBytes bounds a ServiceAccount token. Real ones have about 1 KiB.
	maxWorkloadTokenBytes = 8 << 10
	// grantedLifetime is how long a right is taken to go on, though never beyond the life of the token.
	grantedLifetime = 10 * time.Second
	// deniedLifetime is how long a refusal is repeated without asking anew.
	deniedLifetime = 2 * time.Second
	// verdictMemory bounds, in bytes, what is kept of tokens, and verdictBytes is about what each takes.
	verdictMemory = 8 << 20
	verdictBytes  = 1024
	// maxReviews is how many tokens are reviewed at once. More would keep the API server from its other work.
	maxReviews = 32
)

// Workload is a ServiceAccount that has authenticated itself.
type Workload struct {
	// Name is its user name: "system:serviceaccount:<namespace>:<name>".
	Name string
	// Pod is the name of the pod that the token is bound to. Empty for none.
	Pod string
}

// Workloads authenticate workloads by their ServiceAccount tokens, and ask RBAC what they may. It is safe for
// concurrent use.
//
// What the API server says is kept: a right for 10 seconds and never beyond the life of the token, a refusal for 2. So
// a binding that is removed counts for up to 10 seconds more. A ServiceAccount or pod that is deleted counts for up to
// 20, because kube-apiserver itself remembers a good token for 10 seconds. Of the token its SHA-256 is kept. A flood of
// one token costs one review.
type Workloads struct {
	client   client.Client
	clock    clock.Clock
	verdicts *memory[*verdict]
	reviews  *turns
}

// verdict is what the API server has said about a token.
type verdict struct {
	workload Workload
	err      error
	// until is when it must be asked anew.
	until time.Time
}

// NewWorkloads returns what authenticates workloads. The client creates TokenReviews and SubjectAccessReviews; it reads
// nothing, so a cache of it plays no part.
func NewWorkloads(c client.Client, clk clock.Clock) *Workloads {
	return &Workloads{
		client:   c,
		clock:    clk,
		verdicts: newMemory(verdictMemory, func(*verdict) uint32 { return verdictBytes }),
		reviews:  newTurns(clk, maxReviews),
	}
}

// Authorize says which workload has sent the token, if the token is for this issuer and RBAC grants the workload the
// verb on the TokenIssuer. The errors are ErrRefused, ErrForbidden, ErrBusy and ErrUnavailable; with ErrForbidden the
// workload is there too.
//
// A token that does not name the issuer URL as its audience, or that has expired by its own words, costs no request.
func (w *Workloads) Authorize(
	ctx context.Context, issuer types.NamespacedName, issuerURL, token, verb string,
) (Workload, error) {
	now := w.clock.Now()
	expires, err := plausible(token, issuerURL, now)
	if err != nil {
		return Workload{}, fmt.Errorf("%w: the ServiceAccount token for %s: %w", ErrRefused, issuerURL, err)
	}
	good := func(v *verdict) bool { return now.Before(v.until) }
	question := digest(token, issuer.Namespace, issuer.Name, issuerURL, verb)
	v, err := w.verdicts.ask(ctx, question, good, func(ctx context.Context, _ *verdict) *verdict {
		return w.find(ctx, access{issuer: issuer, issuerURL: issuerURL, verb: verb}, token, expires)
	})
	if err != nil {
		return Workload{}, err
	}
	return v.workload, v.err
}

// plausible returns when the token expires by its own words, if those are words that could be good at the issuer.
func plausible(token, issuerURL string, now time.Time) (time.Time, error) {
	read, err := readUnverified(token, maxWorkloadTokenBytes)
	if err != nil {
		return time.Time{}, err
	}
	if !read.claims.names(issuerURL) {
		return time.Time{}, errors.New("its audience is another: project a token whose audience is the issuer URL")
	}
	return read.claims.expiry(now)
}

// find asks the API server.
func (w *Workloads) find(ctx context.Context, to access, token string, expires time.Time) *verdict {
	if err := w.reviews.take(ctx); err != nil {
		return &verdict{err: fmt.Errorf("reviewing a ServiceAccount token for %s: %w", to.issuerURL, err)}
	}
	defer w.reviews.give()
	now := w.clock.Now()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found := &verdict{}
	user, err := w.review(ctx, to, token)
	if err == nil {
		found.workload = workloadOf(user)
		err = w.authorize(ctx, to, user)
	}
	switch {
	case err == nil:
		found.until = earlier(now.Add(grantedLifetime), expires)
	case errors.Is(err, ErrRefused), errors.Is(err, ErrForbidden):
		found.until = now.Add(deniedLifetime)
	}
	found.err = err
	return found
}

// digest is the SHA-256 of the texts. Their lengths go in too, so that no other texts have the same.
func digest(texts ...string) string {
	hash := sha256.New()
	for _, text := range texts {
		_ = binary.Write(hash, binary.BigEndian, uint64(len(text))) // a hash takes everything
		_, _ = hash.Write([]byte(text))
	}
	return string(hash.Sum(nil))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
