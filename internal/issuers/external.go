package issuers

import (
	"context"
	"net/http"
	"net/netip"
	"sync"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/remotejwks"
	"github.com/keyturn/keyturn/internal/token"
)

// ExternalOptions say how the keys of external issuers may be fetched.
type ExternalOptions struct {
	// AllowedInternal are the internal networks in which an issuer may be.
	AllowedInternal []netip.Prefix
	// ClusterURL and ClusterTransport are the operator's own connection to the API server, for fromCluster.
	ClusterURL       string
	ClusterTransport http.RoundTripper
}

// externals runs one fetcher for each external issuer.
type externals struct {
	options  ExternalOptions
	clock    clock.Clock
	log      logr.Logger
	registry *Registry

	mu       sync.Mutex
	fetchers map[types.NamespacedName]*running
}

type running struct {
	fetcher *remotejwks.Fetcher
	spec    v1alpha1.TokenIssuerSpec
	stop    context.CancelFunc
}

// ensure has a fetcher run for the issuer's present spec, and returns it.
func (x *externals) ensure(ctx context.Context, issuer *v1alpha1.TokenIssuer) *remotejwks.Fetcher {
	x.mu.Lock()
	defer x.mu.Unlock()
	name := nameOf(issuer)
	old := x.fetchers[name]
	if old != nil && equality.Semantic.DeepEqual(old.spec, issuer.Spec) {
		return old.fetcher
	}
	options := remotejwks.Options{
		Clock: x.clock, Logger: x.log.WithValues("issuer", name.String()), AllowedInternal: x.options.AllowedInternal,
		OnChange: func(*remotejwks.Set) {
			if err := x.registry.keysChanged(name); err != nil {
				x.log.Error(err, "taking over fetched keys", "issuer", name.String())
			}
		},
	}
	source := x.source(issuer)
	if old != nil {
		if sameOrigin(&old.spec, &issuer.Spec) {
			options.Previous = old.fetcher.Current()
		}
		old.stop()
	}
	fetcher := remotejwks.New(source, options)
	running := &running{fetcher: fetcher, spec: *issuer.Spec.DeepCopy()}
	var fetching context.Context
	fetching, running.stop = context.WithCancel(ctx)
	x.fetchers[name] = running
	go fetcher.Run(fetching)
	return fetcher
}

func (x *externals) stop(name types.NamespacedName) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if running := x.fetchers[name]; running != nil {
		running.stop()
		delete(x.fetchers, name)
	}
}

func (x *externals) fetcher(name types.NamespacedName) *remotejwks.Fetcher {
	x.mu.Lock()
	defer x.mu.Unlock()
	if running := x.fetchers[name]; running != nil {
		return running.fetcher
	}
	return nil
}

func (x *externals) source(issuer *v1alpha1.TokenIssuer) remotejwks.Source {
	external := issuer.Spec.External
	source := remotejwks.Source{
		IssuerURL: issuer.Spec.IssuerURL, JWKSURL: external.JWKSURL, CABundle: external.CABundle,
		RefreshInterval: external.RefreshInterval.Duration, MaxStaleness: external.MaxStaleness.Duration,
		MaxLifetime: MaxLifetime(issuer),
	}
	for _, algorithm := range external.Algorithms {
		source.Algorithms = append(source.Algorithms, jose.SignatureAlgorithm(algorithm))
	}
	if external.FromCluster {
		source.BaseURL, source.Transport = x.options.ClusterURL, x.options.ClusterTransport
	}
	return source
}

// sameOrigin says whether keys fetched under one spec may go on being used under the other.
func sameOrigin(a, b *v1alpha1.TokenIssuerSpec) bool {
	return a.IssuerURL == b.IssuerURL && a.External.JWKSURL == b.External.JWKSURL &&
		a.External.FromCluster == b.External.FromCluster
}

// attach connects an entry of the registry to its fetcher.
func (x *externals) attach(fetcher *remotejwks.Fetcher) func(*entry) {
	return func(e *entry) {
		url := e.issuer.Spec.IssuerURL
		e.keySet = func() (*remotejwks.Set, bool) {
			set := fetcher.Current()
			stale := set.Stale(x.clock.Now())
			return set, stale
		}
		e.refetch = func(keyID string) *token.Issuer {
			fetcher.Refetch(context.Background(), keyID)
			return x.registry.ByURL(url)
		}
	}
}
