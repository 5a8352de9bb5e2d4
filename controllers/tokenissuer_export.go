package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/issuers"
	"github.com/keyturn/keyturn/internal/keyring"
)

// export writes the Secret that workloads mount, in one write so that the kubelet swaps all its files at once; or
// deletes it where exporting is switched off. It comes after publish: a key that signs must be known.
func (r *TokenIssuerReconciler) export(ctx context.Context, issuer *v1alpha1.TokenIssuer, policy keyring.Policy, seen *observation) (bool, error) {
	if seen.signingKey != nil && revisionOf(seen.signingKey) > seen.ring.Revision {
		return false, errStale
	}
	switch {
	case !policy.Export:
		return r.withdraw(ctx, issuer, seen)
	case seen.signingKeyTaken != nil:
		return false, seen.signingKeyTaken
	}
	files, err := signingFiles(issuer, policy, seen.ring)
	if err != nil {
		return false, err
	}
	secret := &corev1.Secret{}
	var before client.Object
	if seen.signingKey != nil {
		secret, before = seen.signingKey.DeepCopy(), seen.signingKey
	}
	wrote, err := r.derive(ctx, issuer, seen, before, secret, v1alpha1.ComponentSigningKey, func() {
		secret.Namespace, secret.Name = issuer.Namespace, signingKeyName(issuer)
		secret.Type = v1alpha1.SecretTypeSigningKey
		secret.Data = files
		applyTemplate(secret, issuer.Spec.Signing.Secret.Template)
		annotate(secret, seen.ring.Revision, nil, before)
	})
	if err == nil && wrote {
		seen.signingKey = secret
	}
	return wrote, err
}

// withdraw deletes the mounted Secret, in the version that was seen. That the deletion was accepted does not mean that the
// Secret is gone: a finalizer can hold it.
func (r *TokenIssuerReconciler) withdraw(ctx context.Context, issuer *v1alpha1.TokenIssuer, seen *observation) (bool, error) {
	switch {
	case seen.keyKept != nil:
		return false, seen.keyKept
	case seen.signingKey == nil || !seen.signingKey.DeletionTimestamp.IsZero():
		return false, nil
	}
	// New pods cannot start without the Secret, so a replica that has not heard yet that it is wanted again must not
	// delete it.
	stored := &v1alpha1.TokenIssuer{}
	if err := r.APIReader.Get(ctx, client.ObjectKeyFromObject(issuer), stored); err != nil {
		return false, fmt.Errorf("looking whether Secret %s is to be withdrawn: %w", seen.signingKey.Name, err)
	}
	if stored.UID != issuer.UID || stored.Spec.Signing == nil || issuers.SigningPolicy(stored).Export {
		return false, errStale
	}
	err := r.Delete(ctx, seen.signingKey, client.Preconditions{
		UID: ptr.To(seen.signingKey.UID), ResourceVersion: ptr.To(seen.signingKey.ResourceVersion),
	})
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("withdrawing Secret %s: %w", seen.signingKey.Name, err)
	}
	seen.signingKey, seen.mountedConfirmed = nil, false
	return true, nil
}

// signingFiles are the files of the mounted Secret. The lifetime is what the ring has counted with, never more.
func signingFiles(issuer *v1alpha1.TokenIssuer, policy keyring.Policy, ring *keyring.Ring) (map[string][]byte, error) {
	active := ring.Active()
	key, err := active.ExportPrivate()
	if err != nil {
		return nil, err
	}
	lifetime := min(policy.MaxLifetime, active.MaxLifetime)
	files := map[string][]byte{
		v1alpha1.DataKeyJWK:      key.JWK,
		v1alpha1.DataKeyID:       []byte(active.ID),
		v1alpha1.DataAlgorithm:   []byte(active.Algorithm),
		v1alpha1.DataIssuer:      []byte(issuer.Spec.IssuerURL),
		v1alpha1.DataMaxLifetime: strconv.AppendInt(nil, int64(lifetime/time.Second), 10),
	}
	if key.PEM != nil {
		files[v1alpha1.DataKeyPEM] = key.PEM
	}
	if key.Bytes != nil {
		files[v1alpha1.DataKeyBytes] = key.Bytes
	}
	return files, nil
}

func signingKeyName(issuer *v1alpha1.TokenIssuer) string {
	if name := issuer.Spec.Signing.Secret.Name; name != "" {
		return name
	}
	return issuer.Name + "-signing-key"
}

// templateKeys remembers what a template put on an object.
type templateKeys struct {
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
}

// applyTemplate puts the template's labels and annotations on the object and takes away those of the template before.
func applyTemplate(object client.Object, template v1alpha1.SecretTemplate) {
	labels, annotations := maps.Clone(object.GetLabels()), maps.Clone(object.GetAnnotations())
	var earlier templateKeys
	// Whoever broke the annotation keeps what an earlier template has set; nothing worse follows.
	_ = json.Unmarshal([]byte(annotations[v1alpha1.AnnotationTemplateKeys]), &earlier)
	labels = replaceKeys(labels, earlier.Labels, template.Labels)
	annotations = replaceKeys(annotations, earlier.Annotations, template.Annotations)
	delete(annotations, v1alpha1.AnnotationTemplateKeys)
	if len(template.Labels)+len(template.Annotations) > 0 {
		now, _ := json.Marshal(templateKeys{ // strings cannot fail to encode
			Labels:      slices.Sorted(maps.Keys(template.Labels)),
			Annotations: slices.Sorted(maps.Keys(template.Annotations)),
		})
		annotations[v1alpha1.AnnotationTemplateKeys] = string(now)
	}
	object.SetLabels(labels)
	object.SetAnnotations(annotations)
}

func replaceKeys[V ~string](all map[string]string, earlier []string, now map[string]V) map[string]string {
	if all == nil {
		all = map[string]string{}
	}
	for _, key := range earlier {
		delete(all, key)
	}
	for key, value := range now {
		all[key] = string(value)
	}
	return all
}
