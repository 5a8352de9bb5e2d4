package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/keyring"
)

// errStale is returned where the ring or the issuer at hand is older than what the API server has: the cache lags.
var errStale = errors.New("the cache is older than what the API server has")

// conflictError says that an object that must be written exists and is somebody else's. It is never overwritten.
type conflictError struct {
	kind, name string
	// component and issuer are set if the object is ours all the same, but not what it must be here.
	component, issuer string
	// holds is set if what stands in the way is the key with this id in it.
	holds string
}

func conflictWith(object client.Object) *conflictError {
	labels := object.GetLabels()
	return &conflictError{
		kind: kindOf(object), name: object.GetName(),
		component: labels[v1alpha1.LabelComponent], issuer: labels[v1alpha1.LabelIssuer],
	}
}

func (e *conflictError) Error() string {
	if e.holds != "" {
		return fmt.Sprintf("%s %s holds the key %s, which is not to be exported any more, and is not this issuer's to delete: delete it, or give it back its labels %s and %s",
			e.kind, e.name, e.holds, v1alpha1.LabelComponent, v1alpha1.LabelIssuer)
	}
	if e.component != "" && e.issuer != "" {
		return fmt.Sprintf("%s %s holds the %s of the TokenIssuer %s: leave it, and create this TokenIssuer anew with another name or another signing.secret.name",
			e.kind, e.name, e.component, e.issuer)
	}
	return fmt.Sprintf("%s %s exists and is not this issuer's: delete or rename it, or, if it was restored or relabelled by hand, give it back its labels %s and %s",
		e.kind, e.name, v1alpha1.LabelComponent, v1alpha1.LabelIssuer)
}

// observation is what was last seen of an issuer's three objects, and of its own writes to them.
type observation struct {
	ringSecret *corev1.Secret // nil if there is none, as the other two
	ring       *keyring.Ring
	jwks       *corev1.ConfigMap
	signingKey *corev1.Secret

	// jwksTaken and signingKeyTaken are set where somebody else's object has the name. The ring lives on without: a
	// compromised key must leave it all the same.
	jwksTaken, signingKeyTaken *conflictError

	// ringConfirmed is true if the ring is the API server's own and not that of a cache, which may be late.
	ringConfirmed bool
	// mountedConfirmed is true if the API server itself was asked for the mounted Secret since this ring was written.
	mountedConfirmed bool
	// keyKept is set if it then had one that is not ours, because its labels were changed, and holds a key of the ring.
	keyKept *conflictError

	// rolledBack is true when the ring is older than what was derived from it, and keysLost when keys are missing in it.
	rolledBack, keysLost bool
}

// observe reads from the cache, unless that has no ring: then from the API server itself. What the cache does not know
// may only be late, or have lost its label, and a ring made in its place would cost every token its key.
func (r *TokenIssuerReconciler) observe(ctx context.Context, issuer *v1alpha1.TokenIssuer, fresh bool) (*observation, error) {
	if !fresh {
		seen, err := read(ctx, r.Client, issuer)
		if err != nil || seen.ringSecret != nil {
			return seen, err
		}
	}
	seen, err := read(ctx, r.APIReader, issuer)
	if err != nil || seen.ring == nil {
		return seen, err
	}
	seen.ringConfirmed = true
	if restored := keyring.Resume(r.Clock.Now(), seen.ring, seen.seen()); restored != nil {
		seen.ring, seen.rolledBack, seen.keysLost = restored.Ring, true, restored.KeysLost
	}
	return seen, err
}

func read(ctx context.Context, reader client.Reader, issuer *v1alpha1.TokenIssuer) (*observation, error) {
	seen := &observation{}
	var err error
	seen.ringSecret, err = owned(ctx, reader, issuer, &corev1.Secret{}, issuers.RingSecretName(issuer.Name), v1alpha1.ComponentKeyring)
	if err != nil {
		return seen, err
	}
	if seen.ringSecret != nil {
		seen.ring, err = keyring.Decode(seen.ringSecret.Data[v1alpha1.DataRing])
		if err != nil {
			return seen, err
		}
	}
	seen.jwks, err = owned(ctx, reader, issuer, &corev1.ConfigMap{}, jwksName(issuer), v1alpha1.ComponentJWKS)
	if err != nil && !errors.As(err, &seen.jwksTaken) {
		return seen, err
	}
	seen.signingKey, err = owned(ctx, reader, issuer, &corev1.Secret{}, signingKeyName(issuer), v1alpha1.ComponentSigningKey)
	if err != nil && !errors.As(err, &seen.signingKeyTaken) {
		return seen, err
	}
	return seen, nil
}

// owned reads into an object that must be the issuer's, and returns it; nil if there is none. One that is somebody else's is
// read, and a conflictError.
func owned[T client.Object](ctx context.Context, reader client.Reader, issuer *v1alpha1.TokenIssuer, object T, name, component string) (T, error) {
	var none T
	err := reader.Get(ctx, client.ObjectKey{Namespace: issuer.Namespace, Name: name}, object)
	if apierrors.IsNotFound(err) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("reading %s: %w", name, err)
	}
	if !ours(object, issuer, component) {
		return none, conflictWith(object)
	}
	return object, nil
}

// ours decides by labels, not by owner reference: an object that was restored from a backup has lost the latter.
func ours(object client.Object, issuer *v1alpha1.TokenIssuer, component string) bool {
	labels := object.GetLabels()
	if labels[v1alpha1.LabelComponent] != component || labels[v1alpha1.LabelIssuer] != issuer.Name {
		return false
	}
	secret, ok := object.(*corev1.Secret)
	return !ok || secret.Type == secretTypes[component]
}

var secretTypes = map[string]corev1.SecretType{
	v1alpha1.ComponentKeyring:     v1alpha1.SecretTypeKeyring,
	v1alpha1.ComponentSigningKey:  v1alpha1.SecretTypeSigningKey,
	v1alpha1.ComponentRefreshKeys: v1alpha1.SecretTypeRefreshKeys,
}

func kindOf(object client.Object) string {
	if _, ok := object.(*corev1.Secret); ok {
		return "Secret"
	}
	return "ConfigMap"
}

// seen is the observation as the plan wants it.
func (o *observation) seen() keyring.Seen {
	seen := keyring.Seen{}
	if o.jwks != nil {
		seen.Published = keyring.PublishedIDs([]byte(o.jwks.Data[v1alpha1.DataJWKS]))
		seen.PublishedRevision = revisionOf(o.jwks)
		seen.LongestMaxAge, _ = time.ParseDuration(o.jwks.Annotations[v1alpha1.AnnotationLongestMaxAge])
	}
	switch {
	case o.signingKey != nil:
		seen.Mounted = keyIn(o.signingKey)
		seen.MountedRevision = revisionOf(o.signingKey)
	case o.keyKept != nil:
		seen.Mounted = o.keyKept.holds
	}
	seen.MountedConfirmed = o.mountedConfirmed
	return seen
}

// confirmRing asks the API server itself whether the ring is the present one. It is asked before anything derived from
// the ring is written: what exists says by its revision which ring is too old for it, but not if it was deleted with its
// ring, or if the revision was taken from it.
func (r *TokenIssuerReconciler) confirmRing(ctx context.Context, issuer *v1alpha1.TokenIssuer, seen *observation) error {
	if seen.ringConfirmed {
		return nil
	}
	stored, err := owned(ctx, r.APIReader, issuer, &corev1.Secret{}, issuers.RingSecretName(issuer.Name), v1alpha1.ComponentKeyring)
	if err != nil {
		return err
	}
	if stored == nil || stored.UID != seen.ringSecret.UID || stored.ResourceVersion != seen.ringSecret.ResourceVersion {
		return errStale
	}
	seen.ringConfirmed = true
	return nil
}

// confirmMounted asks the API server itself for the mounted Secret, where a plan needs to be sure of it. One that is not
// ours, because its labels were changed, is not ours to delete, but workloads go on signing with the key in it.
func (r *TokenIssuerReconciler) confirmMounted(ctx context.Context, issuer *v1alpha1.TokenIssuer, policy keyring.Policy, seen *observation) error {
	if seen.ring == nil || seen.mountedConfirmed || !seen.ring.MustConfirmMounted(policy.Export, seen.seen().Mounted) {
		return nil
	}
	secret := &corev1.Secret{}
	var taken *conflictError
	found, err := owned(ctx, r.APIReader, issuer, secret, signingKeyName(issuer), v1alpha1.ComponentSigningKey)
	if err != nil && !errors.As(err, &taken) {
		return err
	}
	seen.mountedConfirmed, seen.signingKey, seen.keyKept = true, found, nil
	if taken != nil && seen.ring.Key(keyIn(secret)) != nil {
		taken.holds = keyIn(secret)
		seen.keyKept = taken
	}
	return nil
}

// keyIn is the id of the key in a mounted Secret.
func keyIn(secret *corev1.Secret) string { return string(secret.Data[v1alpha1.DataKeyID]) }

// latestRevision is far beyond any that a ring can reach by being written, and leaves room to count on.
const latestRevision = 1 << 60

// revisionOf returns 0 where the annotation is missing, or was broken by hand.
func revisionOf(object client.Object) int64 {
	revision, err := strconv.ParseInt(object.GetAnnotations()[v1alpha1.AnnotationRingRevision], 10, 64)
	if err != nil || revision < 0 || revision > latestRevision {
		return 0
	}
	return revision
}

// write creates the object or updates it to what render makes of it, if that differs. The update carries the
// resourceVersion that was seen, so a lost race is an error and nothing is overwritten.
func (r *TokenIssuerReconciler) write(ctx context.Context, issuer *v1alpha1.TokenIssuer, before client.Object, object client.Object, component string, render func()) (bool, error) {
	different, err := r.prepare(issuer, before, object, component, render)
	if err != nil || !different {
		return false, err
	}
	return true, r.store(ctx, issuer, before, object, component)
}

// derive is write for what is derived from the ring, which must be the present one.
func (r *TokenIssuerReconciler) derive(ctx context.Context, issuer *v1alpha1.TokenIssuer, seen *observation, before client.Object, object client.Object, component string, render func()) (bool, error) {
	different, err := r.prepare(issuer, before, object, component, render)
	if err != nil || !different {
		return false, err
	}
	if err := r.confirmRing(ctx, issuer, seen); err != nil {
		return false, err
	}
	return true, r.store(ctx, issuer, before, object, component)
}

// prepare makes the object what it must be, and says whether it differs from what is stored. before is nil if nothing is.
func (r *TokenIssuerReconciler) prepare(issuer *v1alpha1.TokenIssuer, before client.Object, object client.Object, component string, render func()) (bool, error) {
	render()
	labels := object.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[v1alpha1.LabelComponent], labels[v1alpha1.LabelIssuer] = component, issuer.Name
	object.SetLabels(labels)
	if err := r.setOwner(issuer, object); err != nil {
		return false, err
	}
	return before == nil || !equality.Semantic.DeepEqual(before, object), nil
}

func (r *TokenIssuerReconciler) store(ctx context.Context, issuer *v1alpha1.TokenIssuer, before client.Object, object client.Object, component string) error {
	var err error
	if before == nil {
		err = r.Create(ctx, object)
		if apierrors.IsAlreadyExists(err) {
			err = r.whoseIsIt(ctx, issuer, object, component, err)
		}
	} else {
		err = r.Update(ctx, object)
	}
	if err != nil {
		return fmt.Errorf("writing %s %s: %w", kindOf(object), object.GetName(), err)
	}
	return nil
}

// whoseIsIt tells an object that the cache has not caught up with from somebody else's.
func (r *TokenIssuerReconciler) whoseIsIt(ctx context.Context, issuer *v1alpha1.TokenIssuer, object client.Object, component string, exists error) error {
	found := object.DeepCopyObject().(client.Object)
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(object), found); err != nil {
		return errors.Join(exists, client.IgnoreNotFound(err))
	}
	if ours(found, issuer, component) {
		return exists
	}
	return conflictWith(found)
}

// setOwner lets the garbage collector delete the object with the issuer, or keeps it from that. An owner reference of an
// earlier life of the issuer, as a backup can hold it, is replaced.
func (r *TokenIssuerReconciler) setOwner(issuer *v1alpha1.TokenIssuer, object client.Object) error {
	if issuer.Spec.Signing.DeletionPolicy != v1alpha1.DeletionRetain {
		return controllerutil.SetOwnerReference(issuer, object, r.Scheme())
	}
	object.SetOwnerReferences(slices.DeleteFunc(object.GetOwnerReferences(), func(owner metav1.OwnerReference) bool {
		return owner.Kind == "TokenIssuer" && owner.Name == issuer.Name
	}))
	return nil
}
