package replicas

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// reporting is a Reporter against the real API server.
type reporting struct {
	*testing.T
	client    kubernetes.Interface
	namespace string
	progress  *Progress
	latest    atomic.Pointer[map[string]string]
	served    chan struct{}
	stop      context.CancelFunc
	ended     chan error
}

func report(t *testing.T) *reporting {
	client, err := kubernetes.NewForConfig(testenv.Environment(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "replicas-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r := &reporting{T: t, client: client, namespace: namespace.Name, progress: NewProgress(nil), served: make(chan struct{}), ended: make(chan error, 1)}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.latest.Store(&map[string]string{})
	reporter := &Reporter{
		Latest: func(context.Context) (map[string]string, error) { return *r.latest.Load(), nil },
		Leases: client.CoordinationV1(), Namespace: r.namespace, Name: "replica", Progress: r.progress, Served: r.served,
		Clock: clock.RealClock{},
	}
	go func() { r.ended <- reporter.Start(ctx) }()
	return r
}

func (r *reporting) lease() (*coordinationv1.Lease, error) {
	return r.client.CoordinationV1().Leases(r.namespace).Get(context.Background(), "replica", metav1.GetOptions{})
}

// eventually waits less than renewPeriod, so that only what is reported at once can pass.
func (r *reporting) eventually(what string, check func() error) {
	r.Helper()
	var err error
	for end := time.Now().Add(renewPeriod - time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	r.Fatalf("%s: %v", what, err)
}

func (r *reporting) reported(version string) func() error {
	return func() error {
		lease, err := r.lease()
		if err != nil {
			return err
		}
		position, err := decodePosition(lease.Annotations[appliedAnnotation])
		if err == nil && position[""] != version {
			err = fmt.Errorf("position %v, want %s", position, version)
		}
		return err
	}
}

func TestReporter(t *testing.T) {
	r := report(t)
	r.progress.Applied(object("a"), "7", true)
	time.Sleep(4 * reportPause)
	if _, err := r.lease(); !apierrors.IsNotFound(err) {
		t.Errorf("error %v, want that there is no Lease before everything is in force", err)
	}
	r.latest.Store(&map[string]string{"": "7"})
	if !r.progress.Synced(t.Context()) {
		t.Fatal("no token may pass")
	}
	r.eventually("the first report", r.reported("7"))
	r.progress.Applied(object("b"), "8", true)
	r.eventually("the next one", r.reported("8"))
	lease, err := r.lease()
	if err != nil {
		t.Fatal(err)
	}
	if !Selector().Matches(labels.Set(lease.Labels)) {
		t.Errorf("the leader does not find the labels %v", lease.Labels)
	}

	// It drains: somebody may still be served, so it goes on.
	r.stop()
	r.progress.Applied(object("c"), "9", true)
	r.eventually("a report while it drains", r.reported("9"))

	// Somebody has deleted it.
	if err := r.client.CoordinationV1().Leases(r.namespace).Delete(context.Background(), "replica", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.progress.Applied(object("d"), "10", true)
	r.eventually("a Lease anew", r.reported("10"))

	close(r.served)
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	if _, err := r.lease(); !apierrors.IsNotFound(err) {
		t.Errorf("error %v, want that the Lease is gone at the end", err)
	}
}

// A thousand revocations are no thousand writes.
func TestReportsAreBundled(t *testing.T) {
	r := report(t)
	defer close(r.served)
	r.progress.Synced(t.Context())
	r.eventually("the first report", r.reported(""))
	before, err := r.lease()
	if err != nil {
		t.Fatal(err)
	}
	watcher, err := r.client.CoordinationV1().Leases(r.namespace).Watch(t.Context(), metav1.ListOptions{ResourceVersion: before.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan int)
	go func() {
		writes := 0
		for range watcher.ResultChan() {
			writes++
		}
		written <- writes
	}()
	const revocations = 1000
	began := time.Now()
	for i := range revocations {
		r.progress.Applied(object(strconv.Itoa(i)), strconv.Itoa(i+1), true)
		time.Sleep(100 * time.Microsecond)
	}
	r.eventually("the last report", r.reported(strconv.Itoa(revocations)))
	took := time.Since(began)
	time.Sleep(reportPause) // for the watch to bring the last one
	watcher.Stop()
	writes := <-written
	if most := int(took/reportPause) + 2; writes == 0 || writes > most {
		t.Errorf("%d writes in %s, want at most %d", writes, took, most)
	}
}

// A replica that lags behind the API server has no Lease, and lets no token pass: neither at its start nor when its Lease
// has run out.
func TestCatchingUp(t *testing.T) {
	r := report(t)
	defer close(r.served)
	r.progress.Applied(object("a"), "7", true)
	r.latest.Store(&map[string]string{"": "8"})
	if r.progress.Synced(ended()) {
		t.Error("tokens may pass")
	}
	time.Sleep(2 * (reportPause + retryPeriod))
	if _, err := r.lease(); !apierrors.IsNotFound(err) {
		t.Errorf("error %v, want that there is no Lease", err)
	}
	r.progress.Applied(object("b"), "8", true)
	if !r.progress.Synced(t.Context()) {
		t.Error("no token may pass")
	}
	r.eventually("the first report", r.reported("8"))
}
