package servingcert

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	rbacv1client "k8s.io/client-go/kubernetes/typed/rbac/v1"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/moduleroot"
	"github.com/keyturn/keyturn/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// hangLimit ends a wait for what never happens. No outcome depends on it.
const hangLimit = 2 * time.Minute

// secretName is that of the manifests, whose Role the keepers run with.
const secretName = "keyturn-tls"

// world is a namespace, a clock that all share, and an administrator.
type world struct {
	*testing.T
	namespace string
	clock     *clocktesting.FakeClock
	secrets   corev1client.SecretInterface
	// rights is the configuration of a user who may what the Role of the manifests grants in the namespace, and nothing
	// else.
	rights *rest.Config
	// passing says that time goes on by minutes while somebody waits for the keepers.
	passing bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	environment := testenv.Environment(t)
	client := corev1client.NewForConfigOrDie(environment.Config)
	namespace, err := client.Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	user, err := environment.AddUser(envtest.User{Name: namespace.Name}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		T: t, namespace: namespace.Name, clock: clocktesting.NewFakeClock(noon), secrets: client.Secrets(namespace.Name),
		rights: user.Config(),
	}
	w.grant(environment.Config)
	return w
}

func (w *world) grant(config *rest.Config) {
	w.Helper()
	root, err := moduleroot.Find()
	if err != nil {
		w.Fatal(err)
	}
	document, err := os.ReadFile(filepath.Join(root, "config", "rbac", "serving_certificate_role.yaml"))
	if err != nil {
		w.Fatal(err)
	}
	role := &rbacv1.Role{}
	if err := yaml.UnmarshalStrict(document, role); err != nil {
		w.Fatal(err)
	}
	role.Namespace = w.namespace
	client := rbacv1client.NewForConfigOrDie(config)
	if _, err := client.Roles(w.namespace).Create(w.Context(), role, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
	_, err = client.RoleBindings(w.namespace).Create(w.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: w.namespace}},
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
}

// keeping is a Keeper that runs.
type keeping struct {
	*Keeper
	expires atomic.Pointer[time.Time]
	// away makes every request of it fail.
	away atomic.Bool
	log  *journal
}

// journal is what a Keeper has logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() logr.Logger {
	return funcr.New(func(_, line string) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.text.WriteString(line + "\n")
	}, funcr.Options{Verbosity: 1})
}

var errAway = errors.New("the API server is away")

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

// keep runs a Keeper until the end of the test. prepare can change it before.
func (w *world) keep(hosts Hosts, prepare func(*keeping)) *keeping {
	w.Helper()
	k := &keeping{log: &journal{}}
	config := rest.CopyConfig(w.rights)
	config.QPS = -1
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			if k.away.Load() {
				return nil, errAway
			}
			return next.RoundTrip(request)
		})
	})
	k.Keeper = New(Options{
		Client: corev1client.NewForConfigOrDie(config), Namespace: w.namespace, Name: secretName,
		Hosts: hosts, Clock: w.clock, Logger: k.log.logger(),
	})
	if prepare != nil {
		prepare(k)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx, func(at time.Time) { k.expires.Store(&at) }) }()
	w.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.Errorf("Run: %v", err)
		}
		if log := k.log.String(); strings.Contains(log, "PRIVATE KEY") || strings.Contains(log, "MHcCAQ") {
			w.Error("a key is in the log")
		}
		if w.Failed() {
			w.Logf("the log of a keeper:\n%s", k.log)
		}
	})
	return k
}

// eventually waits until check returns nil.
func (w *world) eventually(what string, check func() error) {
	w.Helper()
	var last error
	poll := func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	}
	if wait.PollUntilContextTimeout(w.Context(), 10*time.Millisecond, hangLimit, true, poll) != nil {
		w.Fatalf("%s: %v", what, last)
	}
}

// secret reads a Secret; nil if there is none.
func (w *world) secret(name string) *corev1.Secret {
	secret, err := w.secrets.Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return secret
}

// edit changes a Secret whatever else happens to it.
func (w *world) edit(name string, change func(*corev1.Secret)) {
	w.Helper()
	w.eventually("editing "+name, func() error {
		secret, err := w.secrets.Get(w.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(secret)
		_, err = w.secrets.Update(w.Context(), secret, metav1.UpdateOptions{})
		return err
	})
}

// served returns what a handshake gets.
func (k *keeping) served() (*x509.Certificate, error) {
	certificate, err := k.GetCertificate(nil)
	if err != nil {
		return nil, err
	}
	return certificate.Leaf, nil
}

// settled waits until nothing is left to do and all serve what is in the Secret, and returns it.
func (w *world) settled(keepers ...*keeping) *x509.Certificate {
	w.Helper()
	var stored *Leaf
	w.eventually("all serve what is in the Secret, and it is what it must be", func() (err error) {
		defer func() {
			if err != nil && w.passing {
				w.clock.Step(time.Minute)
			}
		}()
		options := keepers[0].options
		read := secrets{client: w.secrets, namespace: w.namespace, name: secretName}
		found, err := read.read(w.Context())
		if err != nil {
			return err
		}
		decision, err := Plan(w.clock.Now(), options.Hosts, options.Policy, found.bundle)
		if err != nil || decision.Changed() {
			return fmt.Errorf("left to do: %q %q (error %w)", decision.AuthorityChanges, decision.LeafChange, err)
		}
		stored = found.bundle.Leaf
		for i, k := range keepers {
			served, err := k.served()
			if err != nil || !served.Equal(stored.Certificate()) {
				return fmt.Errorf("keeper %d serves something else (error %w)", i, err)
			}
			if at := k.expires.Load(); at == nil || !at.Equal(served.NotAfter) {
				return fmt.Errorf("keeper %d has told the metric %v", i, at)
			}
		}
		return nil
	})
	return stored.Certificate()
}

// trusted is ca.crt, as a client reads it.
func (w *world) trusted() *x509.CertPool {
	w.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(w.secret(secretName).Data[caKey]) {
		w.Fatal("ca.crt holds no certificate")
	}
	return pool
}

func (w *world) accepts(pool *x509.CertPool, certificate *x509.Certificate, host string) error {
	_, err := certificate.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: w.clock.Now(), DNSName: host})
	return err
}

// pass lets time go on.
func (w *world) pass(d time.Duration) {
	w.passing = true
	w.clock.Step(d)
}

var hosts = Hosts{"10.1.2.3", "keyturn.example"}

// TestTwoReplicasRace starts two at once, with the rights of the manifests and no others: one certificate comes of it.
func TestTwoReplicasRace(t *testing.T) {
	w := newWorld(t)
	var keepers []*keeping
	for range 4 {
		keepers = append(keepers, w.keep(hosts, nil))
	}
	served := w.settled(keepers...)
	for _, host := range hosts {
		if err := w.accepts(w.trusted(), served, host); err != nil {
			t.Error(err)
		}
	}
	if at := served.NotAfter; !at.Equal(noon.Add(DefaultPolicy.LeafLifetime)) {
		t.Errorf("it expires at %s", at)
	}
	serving, authorities := w.secret(secretName), w.secret(secretName+"-ca")
	if serving.Type != corev1.SecretTypeTLS || serving.Labels[v1alpha1.LabelComponent] != "serving-cert" {
		t.Errorf("the Secret has the type %s and the labels %v", serving.Type, serving.Labels)
	}
	if decoded, err := decodeAuthorities(authorities.Data[authoritiesKey]); err != nil || len(decoded) != 1 {
		t.Errorf("there are %d authorities, want 1 (error %v)", len(decoded), err)
	}
	// Nobody writes again once all agree.
	again := w.settled(keepers...)
	if now := w.secret(secretName); !again.Equal(served) || now.ResourceVersion != serving.ResourceVersion {
		t.Error("a replica that lost the race has written over what was there")
	}
}
