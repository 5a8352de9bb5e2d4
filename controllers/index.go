package controllers

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// Fields that the cache is indexed by.
const (
	indexIssuerURL        = "issuerURL"
	indexRevokedKeyIssuer = "revokedKeyIssuer"
	indexRevokedIssuer    = "revokedIssuer"
)

// IndexFields has the cache indexed by what the reconcilers look things up by. It is called once for each cache, before
// the cache starts.
func IndexFields(ctx context.Context, indexer client.FieldIndexer) error {
	err := errors.Join(
		indexer.IndexField(ctx, &v1alpha1.TokenIssuer{}, indexIssuerURL, func(object client.Object) []string {
			return []string{object.(*v1alpha1.TokenIssuer).Spec.IssuerURL}
		}),
		indexer.IndexField(ctx, &v1alpha1.TokenRevocation{}, indexRevokedKeyIssuer, func(object client.Object) []string {
			if spec := object.(*v1alpha1.TokenRevocation).Spec; spec.KeyID != "" {
				return []string{spec.IssuerRef.Name}
			}
			return nil
		}),
		indexer.IndexField(ctx, &v1alpha1.TokenRevocation{}, indexRevokedIssuer, func(object client.Object) []string {
			return []string{object.(*v1alpha1.TokenRevocation).Spec.IssuerRef.Name}
		}))
	if err != nil {
		return fmt.Errorf("indexing the cache: %w", err)
	}
	return nil
}
