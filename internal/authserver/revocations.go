package authserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// revokeTimeout bounds the requests to the API server.
const revokeTimeout = 5 * time.Second

// Revocations revokes by creating TokenRevocations, which delete themselves once they can hit nothing any more.
type Revocations struct{ client client.Client }

// NewRevocations returns a Revoker. The client must read past any cache.
func NewRevocations(c client.Client) *Revocations { return &Revocations{client: c} }

// +kubebuilder:rbac:groups=keyturn.dev,resources=tokenrevocations,verbs=get;create

// RevokeSubject implements Revoker. The name of the object follows from what it denies, so that a repeated request makes
// no second one.
func (r *Revocations) RevokeSubject(ctx context.Context, issuer types.NamespacedName, subject string, issuedBefore time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	before := metav1.NewTime(wholeSecond(issuedBefore))
	wanted := &v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: issuer.Namespace, Name: revocationName(issuer.Name, subject, before.Time)},
		Spec: v1alpha1.TokenRevocationSpec{
			IssuerRef: v1alpha1.IssuerReference{Name: issuer.Name}, Subject: subject, IssuedBefore: &before,
			Reason: "The subject logged out everywhere.",
		},
	}
	err := r.client.Create(ctx, wanted)
	if apierrors.IsAlreadyExists(err) {
		return r.check(ctx, wanted)
	}
	if err != nil {
		return fmt.Errorf("creating the TokenRevocation %s in the namespace %s: %w", wanted.Name, wanted.Namespace, err)
	}
	return nil
}

// check makes sure that an object of the name denies what it is named for, since others may create some too.
func (r *Revocations) check(ctx context.Context, wanted *v1alpha1.TokenRevocation) error {
	found := &v1alpha1.TokenRevocation{}
	if err := r.client.Get(ctx, client.ObjectKeyFromObject(wanted), found); err != nil {
		return fmt.Errorf("reading the TokenRevocation %s in the namespace %s: %w", wanted.Name, wanted.Namespace, err)
	}
	if found.Spec.IssuerRef != wanted.Spec.IssuerRef || found.Spec.Subject != wanted.Spec.Subject ||
		found.Spec.IssuedBefore == nil || found.Spec.IssuedBefore.Before(wanted.Spec.IssuedBefore) {
		return fmt.Errorf("the TokenRevocation %s in the namespace %s denies something else than its name says: delete it",
			wanted.Name, wanted.Namespace)
	}
	return nil
}

// revocationName is "logout-", half of the SHA-256 of the issuer and the subject, and the second up to which it denies.
func revocationName(issuer, subject string, before time.Time) string {
	sum := sha256.Sum256([]byte(issuer + "/" + subject))
	return "logout-" + hex.EncodeToString(sum[:16]) + "-" + strconv.FormatInt(before.Unix(), 10)
}
