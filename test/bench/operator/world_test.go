package operator

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

const (
	// deadline bounds every wait for the operator.
	deadline = 3 * time.Minute
	// writers is how many of the administrator's requests are under way at a time.
	writers = 8
)

// world is a cluster that holds nothing else of Keyturn, and what its administrator sees of the issuers in it.
type world struct {
	*testoperator.Administrator
	// namespaces are those of its issuers, and emptied also others that it leaves something in.
	namespaces, emptied []string

	mu      sync.Mutex
	issuers map[client.ObjectKey]seen
	changed chan struct{} // holds one value after a change
}

// seen is what the status of an issuer said last.
type seen struct {
	ready, handled string // ready is the value of the condition
}

// newWorld makes the namespaces, and empties them at the end, when the operator has ended: nothing else removes what a
// deleted issuer has owned.
func newWorld(b *testing.B, namespaces int) *world {
	b.Helper()
	w := &world{
		Administrator: testoperator.NewAdministrator(b), issuers: map[client.ObjectKey]seen{}, changed: make(chan struct{}, 1),
	}
	for range namespaces {
		w.namespaces = append(w.namespaces, w.NewNamespace())
	}
	w.emptied = w.namespaces
	b.Cleanup(w.empty)
	w.watch()
	return w
}

func (w *world) empty() {
	ctx := context.WithoutCancel(w.Context())
	for _, namespace := range w.emptied {
		for _, kind := range []client.Object{
			&v1alpha1.TokenRevocation{}, &v1alpha1.TokenIssuer{}, &corev1.Secret{}, &corev1.ConfigMap{},
		} {
			if err := w.DeleteAllOf(ctx, kind, client.InNamespace(namespace)); err != nil {
				w.Errorf("deleting every %T in %s: %v", kind, namespace, err)
			}
		}
	}
}

func (w *world) watch() {
	informers, err := cache.New(testenv.Environment(w.TB).Config, cache.Options{Scheme: w.Scheme()})
	if err != nil {
		w.Fatal(err)
	}
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(w.Context())
	w.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		_ = informers.Start(ctx) // ends with the context
	}()
	informer, err := informers.GetInformer(ctx, &v1alpha1.TokenIssuer{})
	if err == nil {
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(object any) { w.observe(object.(*v1alpha1.TokenIssuer)) },
			UpdateFunc: func(_, object any) { w.observe(object.(*v1alpha1.TokenIssuer)) },
		})
	}
	if err != nil {
		w.Fatalf("watching the issuers: %v", err)
	}
}

func (w *world) observe(issuer *v1alpha1.TokenIssuer) {
	now := seen{handled: issuer.Status.HandledRotateRequest}
	if ready := meta.FindStatusCondition(issuer.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		now.ready = string(ready.Status)
	}
	w.mu.Lock()
	w.issuers[client.ObjectKeyFromObject(issuer)] = now
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// await waits until every issuer is as it must be.
func (w *world) await(what string, issuers []*v1alpha1.TokenIssuer, good func(seen) bool) {
	w.Helper()
	over := time.After(deadline)
	next := 0
	for next < len(issuers) {
		w.mu.Lock()
		for next < len(issuers) && good(w.issuers[client.ObjectKeyFromObject(issuers[next])]) {
			next++
		}
		missing := next < len(issuers)
		w.mu.Unlock()
		if !missing {
			return
		}
		select {
		case <-w.changed:
		case <-over:
			w.Fatalf("%s: after %s, %s is not yet", what, deadline, issuers[next].Name)
		case <-w.Context().Done():
			w.Fatalf("%s: %v", what, w.Context().Err())
		}
	}
}

func (w *world) awaitReady(issuers []*v1alpha1.TokenIssuer) {
	w.Helper()
	w.await("issuers ready", issuers, func(s seen) bool { return s.ready == string(metav1.ConditionTrue) })
}

// newIssuers returns so many, spread over the namespaces. Their gates are as short as the API allows, so that a rotation
// soon after another has none to wait for.
func (w *world) newIssuers(name string, count int) []*v1alpha1.TokenIssuer {
	issuers := make([]*v1alpha1.TokenIssuer, count)
	for i := range issuers {
		namespace := w.namespaces[i%len(w.namespaces)]
		issuers[i] = newIssuer(namespace, fmt.Sprintf("%s-%d", name, i))
	}
	return issuers
}

func newIssuer(namespace, name string) *v1alpha1.TokenIssuer {
	return &v1alpha1.TokenIssuer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.TokenIssuerSpec{
			IssuerURL: "https://" + namespace + ".example/" + name, Audiences: []string{"shop-api"}, Signing: &v1alpha1.Signing{},
			Tokens: v1alpha1.TokenPolicy{ClockSkew: metav1.Duration{Duration: time.Second}},
			JWKS:   v1alpha1.JWKSPolicy{MaxAge: metav1.Duration{Duration: time.Second}},
		},
	}
}

// makeAll creates the objects, several at a time.
func makeAll[T client.Object](w *world, objects []T) {
	w.Helper()
	each(w, objects, func(object T) error { return w.Create(w.Context(), object) })
}

// each calls a function for every object, several at a time, and fails the benchmark with the first error.
func each[T client.Object](w *world, objects []T, do func(T) error) {
	w.Helper()
	queue := make(chan T, len(objects))
	for _, object := range objects {
		queue <- object
	}
	close(queue)
	var group sync.WaitGroup
	errs := make(chan error, writers)
	for range writers {
		group.Go(func() {
			for object := range queue {
				if err := do(object); err != nil {
					errs <- fmt.Errorf("%s: %w", object.GetName(), err)
					return
				}
			}
		})
	}
	group.Wait()
	select {
	case err := <-errs:
		w.Fatal(err)
	default:
	}
}

// apiServer scrapes the metrics of the API server.
func (w *world) apiServer() string {
	w.Helper()
	config := testenv.Environment(w.TB).Config
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		w.Fatal(err)
	}
	request, err := http.NewRequestWithContext(w.Context(), http.MethodGet, strings.TrimSuffix(config.Host, "/")+"/metrics", http.NoBody)
	if err != nil {
		w.Fatal(err)
	}
	response, err := c.Do(request)
	if err != nil {
		w.Fatalf("scraping the API server: %v", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		w.Fatalf("scraping the API server: %s, %v", response.Status, err)
	}
	return string(text)
}

// writesSince counts the writes that the API server has answered since it was scraped before, whoever wrote, except those
// of Leases. requests names them.
func (w *world) writesSince(before string) (count float64, requests string) {
	w.Helper()
	after := w.apiServer()
	var told []string
	for _, verb := range []string{"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"} {
		label := `verb="` + verb + `"`
		all := w.between(before, after, "apiserver_request_total", label)
		leases := w.between(before, after, "apiserver_request_total", label, `resource="leases"`)
		if more := all - leases; more > 0 {
			count += more
			told = append(told, fmt.Sprintf("%.0f %s", more, verb))
		}
	}
	return count, strings.Join(told, ", ")
}

func (w *world) between(before, after, metric string, labels ...string) float64 {
	w.Helper()
	return testoperator.SumOf(w.TB, after, metric, labels...) - testoperator.SumOf(w.TB, before, metric, labels...)
}
