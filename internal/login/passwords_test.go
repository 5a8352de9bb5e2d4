package login

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
)

// staff is a Secret with users in a real API server, and the checker of their passwords on a fake clock.
type staff struct {
	*Passwords
	server    *apiServer
	clock     *clocktesting.FakeClock
	namespace string
	spec      *v1alpha1.HtpasswdLogin
	secret    *corev1.Secret
}

// newStaff makes the Secret with what is given as names and passwords.
func newStaff(t *testing.T, users ...string) *staff {
	t.Helper()
	server := newAPIServer(t)
	clk := clocktesting.NewFakeClock(time.Now())
	s := &staff{
		Passwords: NewPasswords(server, clk), server: server, clock: clk, namespace: server.newNamespace(t),
		spec: &v1alpha1.HtpasswdLogin{SecretRef: v1alpha1.SecretReference{Name: "users"}, SubjectPrefix: "staff:"},
	}
	s.secret = &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "users"},
		Data:       map[string][]byte{"auth": htpasswd(t, users...)},
	}
	server.create(t, s.secret)
	return s
}

func htpasswd(t *testing.T, users ...string) []byte {
	t.Helper()
	var file strings.Builder
	for i := 0; i < len(users); i += 2 {
		hash, err := bcrypt.GenerateFromPassword([]byte(users[i+1]), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&file, "%s:%s\n", users[i], hash)
	}
	return []byte(file.String())
}

// replace puts other users into the Secret.
func (s *staff) replace(t *testing.T, data map[string][]byte) {
	t.Helper()
	s.secret.Data = data
	if err := s.server.Update(t.Context(), s.secret); err != nil {
		t.Fatal(err)
	}
}

func (s *staff) check(ctx context.Context, user, password string) error {
	_, err := s.Check(ctx, s.namespace, s.spec, user, password)
	return err
}

func TestCheck(t *testing.T) {
	longest := strings.Repeat("n", 128)
	s := newStaff(t, "alice", "correct horse", "Zoë", "pässword", longest, "x")
	tests := map[string]struct {
		user, password string
		want           error
	}{
		"right":                         {user: "alice", password: "correct horse"},
		"right, beyond ASCII":           {user: "Zoë", password: "pässword"},
		"the longest name":              {user: longest, password: "x"},
		"wrong password":                {user: "alice", password: "correct house", want: ErrRefused},
		"another user's password":       {user: "alice", password: "pässword", want: ErrRefused},
		"unknown user":                  {user: "bob", password: "correct horse", want: ErrRefused},
		"another case":                  {user: "Alice", password: "correct horse", want: ErrRefused},
		"no user":                       {password: "correct horse", want: ErrRefused},
		"no password":                   {user: "alice", want: ErrRefused},
		"the prefix is no part of it":   {user: "staff:alice", password: "correct horse", want: ErrRefused},
		"a name with a line break":      {user: "alice\n", password: "correct horse", want: ErrRefused},
		"a name that is too long":       {user: longest + "n", password: "x", want: ErrRefused},
		"a password that is too long":   {user: "alice", password: strings.Repeat("x", 1025), want: ErrRefused},
		"the longest password is wrong": {user: "alice", password: strings.Repeat("x", 1024), want: ErrRefused},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			identity, err := s.Check(t.Context(), s.namespace, s.spec, test.user, test.password)
			want := Identity{}
			if test.want == nil {
				want = Identity{Subject: "staff:" + test.user, Source: session.SourcePassword}
			}
			// Exactly the error: whatever were wrapped around it could tell why.
			if err != test.want || !reflect.DeepEqual(identity, want) { //nolint:errorlint // See above.
				t.Errorf("%+v, error %v; want %+v, %v", identity, err, want, test.want)
			}
		})
	}
}

func TestCheckIsNotOffered(t *testing.T) {
	passwords := NewPasswords(nil, clocktesting.NewFakeClock(time.Now()))
	if _, err := passwords.Check(t.Context(), "default", nil, "alice", "correct horse"); !errors.Is(err, ErrNotOffered) {
		t.Errorf("Check without a spec: %v, want ErrNotOffered", err)
	}
	if _, err := passwords.Knows(t.Context(), "default", nil, "alice"); !errors.Is(err, ErrNotOffered) {
		t.Errorf("Knows without a spec: %v, want ErrNotOffered", err)
	}
}

// TestCheckOutOfBoundsReadsNothing: what no user can have costs neither a read nor a comparison.
func TestCheckOutOfBoundsReadsNothing(t *testing.T) {
	s := newStaff(t, "alice", "correct horse")
	for _, user := range []string{"", "a:b", "a\x00", "\xff", strings.Repeat("n", 129)} {
		if err := s.check(t.Context(), user, "correct horse"); !errors.Is(err, ErrRefused) {
			t.Errorf("user %q: %v, want ErrRefused", user, err)
		}
	}
	for _, password := range []string{"", strings.Repeat("x", maxPasswordBytes+1)} {
		if err := s.check(t.Context(), "alice", password); !errors.Is(err, ErrRefused) {
			t.Errorf("a password of %d bytes: %v, want ErrRefused", len(password), err)
		}
	}
	if reads := s.server.reads.Load(); reads != 0 {
		t.Errorf("%d reads, want none", reads)
	}
}

func TestKnows(t *testing.T) {
	s := newStaff(t, "alice", "correct horse")
	s.replace(t, map[string][]byte{"auth": append(s.secret.Data["auth"], "locked:!$2y$\n"...)})
	tests := map[string]struct {
		prefix, subject string
		want            bool
	}{
		"a user":                          {prefix: "staff:", subject: "staff:alice", want: true},
		"a user without a prefix":         {prefix: "", subject: "alice", want: true},
		"an unknown user":                 {prefix: "staff:", subject: "staff:bob"},
		"the prefix is missing":           {prefix: "staff:", subject: "alice"},
		"another prefix":                  {prefix: "staff:", subject: "guests:alice"},
		"the prefix twice":                {prefix: "staff:", subject: "staff:staff:alice"},
		"nothing but the prefix":          {prefix: "staff:", subject: "staff:"},
		"a user whose hash is not usable": {prefix: "staff:", subject: "staff:locked"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			spec := s.spec.DeepCopy()
			spec.SubjectPrefix = test.prefix
			if known, err := s.Knows(t.Context(), s.namespace, spec, test.subject); err != nil || known != test.want {
				t.Errorf("known = %t, error %v; want %t", known, err, test.want)
			}
		})
	}
}

func TestUsersAreReadOnceInTwoSeconds(t *testing.T) {
	s := newStaff(t, "alice", "correct horse", "bob", "battery")
	var checks sync.WaitGroup
	for range 50 {
		checks.Go(func() {
			if known, err := s.Knows(t.Context(), s.namespace, s.spec, "staff:bob"); !known || err != nil {
				t.Errorf("bob is known = %t, error %v", known, err)
			}
		})
	}
	checks.Wait()
	if reads := s.server.reads.Load(); reads != 1 {
		t.Fatalf("%d reads for 50 questions at once, want 1", reads)
	}
	s.replace(t, map[string][]byte{"auth": htpasswd(t, "alice", "staple")})
	s.clock.Step(usersLifetime - time.Nanosecond)
	if err := s.check(t.Context(), "bob", "battery"); err != nil || s.server.reads.Load() != 1 {
		t.Errorf("just before 2 s: %v after %d reads, want bob as he was after 1", err, s.server.reads.Load())
	}
	s.clock.Step(time.Nanosecond)
	for user, want := range map[string]map[string]error{
		"alice": {"correct horse": ErrRefused, "staple": nil},
		"bob":   {"battery": ErrRefused},
	} {
		for password, want := range want {
			if err := s.check(t.Context(), user, password); !errors.Is(err, want) {
				t.Errorf("after 2 s: %s with %s: %v, want %v", user, password, err, want)
			}
		}
	}
	if known, err := s.Knows(t.Context(), s.namespace, s.spec, "staff:bob"); known || err != nil {
		t.Errorf("after 2 s: bob is known = %t, error %v; want that he is not", known, err)
	}
	if reads := s.server.reads.Load(); reads != 2 {
		t.Errorf("%d reads, want 2", reads)
	}
}

func TestSecretsOfTwoIssuersAreKeptApart(t *testing.T) {
	s := newStaff(t, "alice", "correct horse")
	other := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.server.newNamespace(t), Name: "users"},
		Data:       map[string][]byte{"auth": htpasswd(t, "bob", "battery")},
	}
	s.server.create(t, other)
	if err := s.check(t.Context(), "alice", "correct horse"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(t.Context(), other.Namespace, s.spec, "alice", "correct horse"); !errors.Is(err, ErrRefused) {
		t.Errorf("alice at the other issuer: %v, want ErrRefused", err)
	}
	if _, err := s.Check(t.Context(), other.Namespace, s.spec, "bob", "battery"); err != nil {
		t.Errorf("bob at the other issuer: %v", err)
	}
}

func TestUsersThatCannotBeRead(t *testing.T) {
	tests := map[string]struct {
		spoil func(t *testing.T, s *staff)
		// want are parts of the error, for the log.
		want []string
	}{
		"no Secret": {
			spoil: func(t *testing.T, s *staff) {
				if err := s.server.Delete(t.Context(), s.secret); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"there is no Secret", "/users", "create it", "htpasswd -nB"},
		},
		"no key": {
			spoil: func(t *testing.T, s *staff) { s.replace(t, map[string][]byte{"users": htpasswd(t, "alice", "x")}) },
			want:  []string{`no key "auth"`, "/users", "htpasswd -nB"},
		},
		"too many users": {
			spoil: func(t *testing.T, s *staff) {
				var file strings.Builder
				for i := range maxUsers + 1 {
					fmt.Fprintf(&file, "%d:%s\n", i, hash4)
				}
				s.replace(t, map[string][]byte{"auth": []byte(file.String())})
			},
			want: []string{"10000 users", "/users"},
		},
		"the API server is away": {
			spoil: func(_ *testing.T, s *staff) { s.server.cut.Store(true) },
			want:  []string{"reading the users", "/users"},
		},
		"the operator may not": {
			spoil: func(t *testing.T, s *staff) { s.secrets = impersonated(t, "nobody") },
			want:  []string{"grant it the verb get", "/users"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStaff(t, "alice", "correct horse")
			test.spoil(t, s)
			for range 2 { // the second time from memory
				err := s.check(t.Context(), "alice", "correct horse")
				if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRefused) {
					t.Fatalf("Check: %v, want ErrUnavailable", err)
				}
				for _, part := range test.want {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("Check: %v, want it to say %q", err, part)
					}
				}
				if _, err := s.Knows(t.Context(), s.namespace, s.spec, "staff:alice"); !errors.Is(err, ErrUnavailable) {
					t.Errorf("Knows: %v, want ErrUnavailable, or the sessions would end", err)
				}
			}
			if reads := s.server.reads.Load(); reads > 1 {
				t.Errorf("%d reads of what cannot be read, want 1 in two seconds", reads)
			}
		})
	}
}

func TestUsersAreReadAgainAfterAFailure(t *testing.T) {
	s := newStaff(t, "alice", "correct horse")
	s.server.cut.Store(true)
	if err := s.check(t.Context(), "alice", "correct horse"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("while the API server is away: %v, want ErrUnavailable", err)
	}
	s.server.cut.Store(false)
	s.clock.Step(usersLifetime)
	if err := s.check(t.Context(), "alice", "correct horse"); err != nil {
		t.Errorf("once it is back: %v", err)
	}
}
