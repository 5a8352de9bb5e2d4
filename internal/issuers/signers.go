package issuers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/keyring"
	"github.com/keyturn/keyturn/internal/token"
)

// ErrCannotSign says that this replica must not sign at the moment. The client asks again.
var ErrCannotSign = errors.New("this replica cannot sign tokens of the issuer now")

const (
	// confirmedFor is how long the word of the API server about a ring counts.
	confirmedFor = 10 * time.Second
	// confirmTimeout bounds the question.
	confirmTimeout = 3 * time.Second
	// maxConfirmed bounds the rings that are remembered; a sweep drops the old ones.
	maxConfirmed = 4096
)

// Signers say with which key this replica may sign. As long as the active key cannot have been replaced unnoticed, that
// is a look at a snapshot. Afterwards, as when the watch is broken or a rotation is overdue, the API server is asked; and
// when it does not answer nothing is signed, because the key may be on its way out of the JWKS.
type Signers struct {
	reader client.Reader
	clock  clock.PassiveClock

	mu        sync.Mutex
	confirmed map[types.NamespacedName]confirmation
}

type confirmation struct {
	at     time.Time
	signer *token.Signer
}

// NewSigners returns Signers. The reader must read past any cache.
func NewSigners(reader client.Reader, clk clock.PassiveClock) *Signers {
	return &Signers{reader: reader, clock: clk, confirmed: map[types.NamespacedName]confirmation{}}
}

// Signer returns the signer of an issuer. Every error is an ErrCannotSign.
func (s *Signers) Signer(ctx context.Context, a *Authority) (*token.Signer, error) {
	if a.signer == nil {
		return nil, fmt.Errorf("%w: its keys are not known yet", ErrCannotSign)
	}
	signer, now := a.signer, s.clock.Now()
	if now.After(a.SignUntil(now)) {
		var err error
		if signer, err = s.confirm(ctx, a.Name, now); err != nil {
			return nil, err
		}
	}
	if a.Verification.Revocations.KeyRevoked(signer.KeyID()) {
		return nil, fmt.Errorf("%w: its active key %s is revoked, and the next one has not taken over yet", ErrCannotSign, signer.KeyID())
	}
	return signer, nil
}

// confirm asks the API server for the ring, unless it was asked just now. One question at a time is enough for all
// issuers: it is the exception, and keeps a flood of requests from becoming one of questions.
func (s *Signers) confirm(ctx context.Context, issuer types.NamespacedName, now time.Time) (*token.Signer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.confirmed[issuer]; ok && now.Sub(known.at) < confirmedFor {
		return known.signer, nil
	}
	signer, err := s.ask(ctx, issuer)
	if err != nil {
		return nil, fmt.Errorf("%w: its key should have been replaced by now, and whether it was cannot be found out: %w", ErrCannotSign, err)
	}
	if len(s.confirmed) >= maxConfirmed {
		clear(s.confirmed)
	}
	s.confirmed[issuer] = confirmation{at: now, signer: signer}
	return signer, nil
}

func (s *Signers) ask(ctx context.Context, issuer types.NamespacedName) (*token.Signer, error) {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	secret := &corev1.Secret{}
	name := RingSecretName(issuer.Name)
	if err := s.reader.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: name}, secret); err != nil {
		return nil, fmt.Errorf("reading the Secret %s: %w", name, err)
	}
	if owner, ok := secretOf(secret, v1alpha1.SecretTypeKeyring, RingSecretName); !ok || owner != issuer {
		return nil, fmt.Errorf("the Secret %s is not the ring of the issuer", name)
	}
	ring, err := keyring.Decode(secret.Data[v1alpha1.DataRing])
	if err != nil {
		return nil, err
	}
	if ring.Active() == nil {
		return nil, errors.New("the ring has no active key")
	}
	return newSigner(ring)
}
