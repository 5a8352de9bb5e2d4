package login

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
)

const (
	// usersKey is the key of the Secret that holds the users, as ingress controllers have it.
	usersKey = "auth"
	// usersLifetime is how long the users of a Secret are used before it is read again. A failure to read is kept as long.
	usersLifetime = 2 * time.Second
	// usersMemory bounds, in bytes, the users that are kept of all issuers together.
	usersMemory = 64 << 20
	// maxPasswordBytes bounds a password. As everywhere, bcrypt makes use of the first 72 bytes.
	maxPasswordBytes = 1024
	// callTimeout bounds one request to the API server.
	callTimeout = 5 * time.Second
)

// Passwords check user names and passwords. It is safe for concurrent use.
type Passwords struct {
	secrets     client.Reader
	clock       clock.Clock
	files       *memory[*usersFile]
	comparisons *comparisons
}

// usersFile is what one read of a Secret has brought.
type usersFile struct {
	users *users
	err   error
	// readAt is when the read began: a change after it may not be seen.
	readAt time.Time
	bytes  int
}

// NewPasswords returns a checker of passwords. The reader must not have a cache: the Secrets have no label of ours, so
// they are not in the operator's, and it must not keep all others.
func NewPasswords(secrets client.Reader, clk clock.Clock) *Passwords {
	return &Passwords{
		secrets:     secrets,
		clock:       clk,
		files:       newMemory(usersMemory, (*usersFile).weight),
		comparisons: newComparisons(clk),
	}
}

// Check says who the user is, if the password is his. It does the same work whether there is such a user or not. The
// errors are ErrRefused and nothing more, ErrUnavailable, ErrBusy, and ErrNotOffered without a spec.
func (p *Passwords) Check(
	ctx context.Context, namespace string, spec *v1alpha1.HtpasswdLogin, user, password string,
) (Identity, error) {
	if spec == nil {
		return Identity{}, ErrNotOffered
	}
	if !validUser(user) || password == "" || len(password) > maxPasswordBytes {
		return Identity{}, ErrRefused
	}
	known, err := p.users(ctx, namespace, spec)
	if err != nil {
		return Identity{}, err
	}
	equal, err := p.comparisons.matches(ctx, known, user, []byte(password))
	if err != nil {
		return Identity{}, err
	}
	if !equal {
		return Identity{}, ErrRefused
	}
	return Identity{Subject: spec.SubjectPrefix + user, Source: session.SourcePassword}, nil
}

// Knows reports whether the user of a subject, which has the prefix, could log in with the right password. When the
// Secret is gone or cannot be read the error is ErrUnavailable, so that a mistake with it ends nobody's session.
func (p *Passwords) Knows(
	ctx context.Context, namespace string, spec *v1alpha1.HtpasswdLogin, subject string,
) (bool, error) {
	if spec == nil {
		return false, ErrNotOffered
	}
	user, ours := strings.CutPrefix(subject, spec.SubjectPrefix)
	if !ours {
		return false, nil
	}
	known, err := p.users(ctx, namespace, spec)
	if err != nil {
		return false, err
	}
	_, found := known.hashes[user]
	return found, nil
}

// users returns those of the Secret, at most usersLifetime old.
func (p *Passwords) users(ctx context.Context, namespace string, spec *v1alpha1.HtpasswdLogin) (*users, error) {
	name := types.NamespacedName{Namespace: namespace, Name: spec.SecretRef.Name}
	now := p.clock.Now()
	fresh := func(file *usersFile) bool { return now.Sub(file.readAt) < usersLifetime }
	file, err := p.files.ask(ctx, name.String(), fresh, func(ctx context.Context, _ *usersFile) *usersFile {
		return p.read(ctx, name)
	})
	if err != nil {
		return nil, err
	}
	return file.users, file.err
}

func (p *Passwords) read(ctx context.Context, name types.NamespacedName) *usersFile {
	file := &usersFile{readAt: p.clock.Now()}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var secret corev1.Secret
	err := p.secrets.Get(ctx, name, &secret)
	content, found := secret.Data[usersKey]
	file.bytes = len(content)
	switch {
	case apierrors.IsNotFound(err):
		file.err = fmt.Errorf("%w: there is no Secret %s with the users: create it, with lines made by `htpasswd -nB` in "+
			"its key %q", ErrUnavailable, name, usersKey)
	case apierrors.IsForbidden(err):
		file.err = fmt.Errorf("%w: the operator may not read the Secret %s with the users: grant it the verb get: %w",
			ErrUnavailable, name, err)
	case err != nil:
		file.err = fmt.Errorf("%w: reading the users in the Secret %s: %w", ErrUnavailable, name, err)
	case !found:
		file.err = fmt.Errorf("%w: the Secret %s has no key %q: put the users there, with lines made by `htpasswd -nB`",
			ErrUnavailable, name, usersKey)
	default:
		if file.users, err = parseUsers(content); err != nil {
			file.err = fmt.Errorf("%w: the key %q of the Secret %s cannot be used: %w", ErrUnavailable, usersKey, name, err)
		}
	}
	return file
}

// weight is about the bytes that the file takes: its users as text, once more for the table of them, and itself.
func (f *usersFile) weight() uint32 {
	return uint32(2*min(f.bytes, maxUsersBytes) + 1024) //nolint:gosec // Bounded right here.
}
