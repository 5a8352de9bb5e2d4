package controllers

import (
	"context"
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// publish writes the JWKS ConfigMap.
func (r *TokenIssuerReconciler) publish(ctx context.Context, issuer *v1alpha1.TokenIssuer, seen *observation) (bool, error) {
	if seen.jwksTaken != nil {
		return false, seen.jwksTaken
	}
	jwks, err := seen.ring.JWKS()
	if err != nil {
		return false, err
	}
	config := &corev1.ConfigMap{}
	var before client.Object
	if seen.jwks != nil {
		if revisionOf(seen.jwks) > seen.ring.Revision {
			return false, errStale
		}
		config, before = seen.jwks.DeepCopy(), seen.jwks
	}
	wrote, err := r.derive(ctx, issuer, seen, before, config, v1alpha1.ComponentJWKS, func() {
		config.Namespace, config.Name = issuer.Namespace, jwksName(issuer)
		config.Data = map[string]string{v1alpha1.DataJWKS: string(jwks)}
		config.BinaryData = nil
		annotate(config, seen.ring.Revision, map[string]string{
			v1alpha1.AnnotationActiveKey:     seen.ring.Active().ID,
			v1alpha1.AnnotationMaxAge:        seen.ring.MaxAge.String(),
			v1alpha1.AnnotationLongestMaxAge: seen.ring.LongestMaxAge().String(),
		}, before)
	})
	if err == nil && wrote {
		seen.jwks = config
	}
	return wrote, err
}

// annotate sets annotations, and the ring's revision if anything else about the object has changed: a revision that
// changes nothing is not worth a write. before is what is stored, nil if nothing is.
func annotate(object client.Object, revision int64, values map[string]string, before client.Object) {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	maps.Copy(annotations, values)
	object.SetAnnotations(annotations)
	if before == nil || !equality.Semantic.DeepEqual(before, object) {
		annotations[v1alpha1.AnnotationRingRevision] = strconv.FormatInt(revision, 10)
	}
}

func jwksName(issuer *v1alpha1.TokenIssuer) string { return issuer.Name + "-jwks" }
