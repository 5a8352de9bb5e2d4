package servingcert

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// yearly makes authorities change within a test.
func yearly(k *keeping) { k.options.Policy.AuthorityLifetime = 365 * day }

// TestRotationUnderHandshakes lets a year pass, in which every serving certificate and an authority are replaced,
// while clients who read ca.crt as rarely as they may open connections to two replicas all the time.
func TestRotationUnderHandshakes(t *testing.T) {
	w := newWorld(t)
	keepers := []*keeping{w.keep(hosts, yearly), w.keep(hosts, yearly)}
	w.settled(keepers...)
	var trusted atomic.Pointer[x509.CertPool]
	trusted.Store(w.trusted())
	stop := w.handshakes(keepers, &trusted)

	leaves, signers := map[string]bool{}, map[string]bool{}
	for range 360 / 12 {
		w.pass(6 * day)
		w.settled(keepers...)
		w.pass(6 * day)
		served := w.settled(keepers...)
		leaves[served.SerialNumber.String()], signers[string(served.AuthorityKeyId)] = true, true
		trusted.Store(w.trusted())
	}
	if count := stop(); count < len(leaves) {
		t.Errorf("there were only %d handshakes", count)
	}
	if len(leaves) < 5 || len(signers) != 2 {
		t.Errorf("there were %d serving certificates of %d authorities, want at least 5 of 2", len(leaves), len(signers))
	}
	log := keepers[0].log.String() + keepers[1].log.String()
	if !strings.Contains(log, "rotated the serving certificate") {
		t.Error("no log line tells of the rotation")
	}
}

// handshakes opens connections to every keeper until stop, which returns how many there were. Each must succeed.
func (w *world) handshakes(keepers []*keeping, trusted *atomic.Pointer[x509.CertPool]) (stop func() int) {
	var running sync.WaitGroup
	var count atomic.Int64
	ended := make(chan struct{})
	for _, k := range keepers {
		running.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if err := w.handshake(k, trusted.Load()); err != nil {
					w.Errorf("at %s: %v", w.clock.Now(), err)
					return
				}
				count.Add(1)
			}
		})
	}
	return func() int {
		close(ended)
		running.Wait()
		return int(count.Load())
	}
}

func (w *world) handshake(k *keeping, trusted *x509.CertPool) error {
	ours, theirs := net.Pipe()
	defer func() { _ = errors.Join(ours.Close(), theirs.Close()) }()
	server := tls.Server(theirs, &tls.Config{GetCertificate: k.GetCertificate, MinVersion: tls.VersionTLS13})
	go func() { _ = server.HandshakeContext(w.Context()) }()
	client := tls.Client(ours, &tls.Config{
		RootCAs: trusted, ServerName: "keyturn.example", Time: w.clock.Now, MinVersion: tls.VersionTLS13,
	})
	return client.HandshakeContext(w.Context())
}

// TestDamage checks what becomes of Secrets that are ours and not what they must be: clients who trust ca.crt of
// before accept what is served after.
func TestDamage(t *testing.T) {
	remove := func(name string) func(w *world) {
		return func(w *world) {
			if err := w.secrets.Delete(w.Context(), name, metav1.DeleteOptions{}); err != nil {
				w.Fatal(err)
			}
		}
	}
	set := func(name, key, value string) func(w *world) {
		return func(w *world) {
			w.edit(name, func(secret *corev1.Secret) { secret.Data[key] = []byte(value) })
		}
	}
	foreign := foreignKey(t)
	for name, test := range map[string]struct {
		damage func(w *world)
		// renewed says that another certificate is served afterwards, and authorities how many are trusted.
		renewed     bool
		authorities int
	}{
		"serving Secret deleted": {damage: remove(secretName), renewed: true, authorities: 1},
		"authorities deleted":    {damage: remove(secretName + "-ca"), authorities: 2},
		"certificate garbage":    {damage: set(secretName, corev1.TLSCertKey, "garbage"), renewed: true, authorities: 1},
		"key of another":         {damage: set(secretName, corev1.TLSPrivateKeyKey, foreign), renewed: true, authorities: 1},
		"ca.crt garbage":         {damage: set(secretName, caKey, "garbage"), authorities: 1},
		"ca.crt empty":           {damage: set(secretName, caKey, ""), authorities: 1},
		"authorities garbage":    {damage: set(secretName+"-ca", authoritiesKey, "{"), authorities: 2},
		"authorities without data": {
			damage:      func(w *world) { w.edit(secretName+"-ca", func(secret *corev1.Secret) { secret.Data = nil }) },
			authorities: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			keepers := []*keeping{w.keep(hosts, nil), w.keep(hosts, nil)}
			before, trusted := w.settled(keepers...), w.trusted()
			test.damage(w)
			after := w.settled(keepers...)
			if after.Equal(before) == test.renewed {
				t.Errorf("another certificate is served: %t, want %t", !test.renewed, test.renewed)
			}
			if err := w.accepts(trusted, after, "keyturn.example"); err != nil {
				t.Errorf("a client of before does not accept it: %v", err)
			}
			if got := len(parseCertificates(w.secret(secretName).Data[caKey])); got != test.authorities {
				t.Errorf("%d authorities are trusted, want %d", got, test.authorities)
			}
		})
	}
}

func foreignKey(t *testing.T) string {
	t.Helper()
	authority, err := newAuthority(noon, DefaultPolicy)
	if err != nil {
		t.Fatal(err)
	}
	key, err := encodeKey(authority.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(key)
}

// TestSomebodyElsesSecret checks that a Secret that happens to have the name is left as it is, and that the keeper
// says so and goes on when the name is free.
func TestSomebodyElsesSecret(t *testing.T) {
	ours := map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentServingCertificate}
	const authorities = secretName + "-ca"
	for name, taken := range map[string]*corev1.Secret{
		"no label":         {ObjectMeta: metav1.ObjectMeta{Name: secretName}, Type: corev1.SecretTypeTLS},
		"another type":     {ObjectMeta: metav1.ObjectMeta{Name: secretName, Labels: ours}, Type: corev1.SecretTypeOpaque},
		"of authorities":   {ObjectMeta: metav1.ObjectMeta{Name: authorities}, Type: corev1.SecretTypeOpaque},
		"of another thing": {ObjectMeta: metav1.ObjectMeta{Name: authorities, Labels: ours}, Type: corev1.SecretTypeOpaque},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			taken = taken.DeepCopy()
			taken.Data = map[string][]byte{corev1.TLSCertKey: []byte("theirs"), corev1.TLSPrivateKeyKey: []byte("theirs")}
			taken.Immutable = ptr.To(true)
			created, err := w.secrets.Create(t.Context(), taken, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			k := w.keep(hosts, nil)
			w.eventually("the keeper says what is wrong", func() error {
				_, err := k.GetCertificate(nil)
				if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), w.namespace+"/"+taken.Name) {
					return errors.Join(errors.New("it says something else"), err)
				}
				return nil
			})
			if now := w.secret(taken.Name); now == nil || now.ResourceVersion != created.ResourceVersion {
				t.Error("somebody else's Secret was changed")
			}
			if err := w.secrets.Delete(t.Context(), taken.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			w.settled(k)
		})
	}
}

// TestAPIServerAway checks that a keeper starts without an API server, says so, tries again, and goes on with its
// certificate when the API server is away later.
func TestAPIServerAway(t *testing.T) {
	w := newWorld(t)
	k := w.keep(hosts, func(k *keeping) { k.away.Store(true) })
	w.eventually("the keeper says what is wrong", func() error {
		if _, err := k.GetCertificate(nil); !errors.Is(err, errAway) {
			return errors.Join(errors.New("it says something else"), err)
		}
		return nil
	})
	k.away.Store(false)
	w.passing = true
	served := w.settled(k)

	k.away.Store(true)
	w.pass(61 * day)
	w.eventually("the keeper has tried to renew", func() error {
		if k.problem.Load() == nil {
			w.clock.Step(time.Minute)
			return errors.New("it has not")
		}
		return nil
	})
	if still, err := k.served(); err != nil || !still.Equal(served) {
		t.Errorf("it has stopped serving with what it had (error %v)", err)
	}
	k.away.Store(false)
	if renewed := w.settled(k); renewed.Equal(served) {
		t.Error("what was missed is not made up for")
	}
}

// TestLostRace lets another replica write between a read and a write: the write is refused, whatever the other has
// done.
func TestLostRace(t *testing.T) {
	ours, theirs := started(t), started(t)
	for name, test := range map[string]struct {
		// before is done before the read, and between by the other.
		before, between func(w *world, s *secrets) error
	}{
		"created": {
			before:  func(*world, *secrets) error { return nil },
			between: func(w *world, s *secrets) error { return write(w, s, &found{}, theirs) },
		},
		"updated": {
			before: func(w *world, s *secrets) error { return write(w, s, &found{}, ours) },
			between: func(w *world, s *secrets) error {
				read, err := s.read(w.Context())
				return errors.Join(err, write(w, s, read, theirs))
			},
		},
		"deleted": {
			before: func(w *world, s *secrets) error { return write(w, s, &found{}, ours) },
			between: func(w *world, _ *secrets) error {
				return w.secrets.DeleteCollection(w.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := &secrets{client: w.secrets, namespace: w.namespace, name: secretName}
			if err := test.before(w, s); err != nil {
				t.Fatal(err)
			}
			read, err := s.read(t.Context())
			if err := errors.Join(err, test.between(w, s)); err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{
				s.writeAuthorities(t.Context(), read, ours), s.writeServing(t.Context(), read, ours),
			} {
				if !errors.Is(err, errLostRace) {
					t.Errorf("the write ends with %v", err)
				}
			}
		})
	}
}

func write(w *world, s *secrets, before *found, bundle Bundle) error {
	return errors.Join(s.writeAuthorities(w.Context(), before, bundle), s.writeServing(w.Context(), before, bundle))
}

// TestHostsChange rolls out other hosts: the replicas that want the old ones and those that want the new ones agree.
func TestHostsChange(t *testing.T) {
	w := newWorld(t)
	old := w.keep(hosts, nil)
	before, trusted := w.settled(old), w.trusted()
	other := w.keep(Hosts{"other.example"}, nil)
	after := w.settled(other, old)
	for _, host := range []string{"10.1.2.3", "keyturn.example", "other.example"} {
		if err := w.accepts(trusted, after, host); err != nil {
			t.Error(err)
		}
	}
	if after.Equal(before) {
		t.Error("the certificate is the one of before")
	}
}

// TestRightsOfTheRole checks that the keepers of these tests, which all run with the Role of the manifests, can read
// no other Secret.
func TestRightsOfTheRole(t *testing.T) {
	w := newWorld(t)
	k := w.keep(hosts, nil)
	w.settled(k)
	if _, err := k.secrets.client.List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("listing all Secrets: %v, want it forbidden", err)
	}
}
