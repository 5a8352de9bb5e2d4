package kubernetes

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/session"
)

// ErrUnreadable says that an object of kind Session is not one that a Store has written.
var ErrUnreadable = errors.New("the Session cannot be read, because somebody has edited it: delete it, and log in again")

// SubjectLabel is the value of the label by which the sessions of a subject are found: the first 16 bytes of its
// SHA-256, in hexadecimal, because a subject may be longer than a label and of other characters.
func SubjectLabel(subject string) string {
	sum := sha256.Sum256([]byte(subject))
	return hex.EncodeToString(sum[:16])
}

// NewObject returns an object to read a Session into. It is not the Go type of the API: one time in an unusual
// notation, which its schema allows and the Go type does not, would fail a whole list.
func NewObject() *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Session"))
	return object
}

// partialState is a part of the state of a Session: what is left out is not written.
type partialState struct {
	Generation *int64            `json:"generation,omitempty"`
	RotatedAt  *metav1.MicroTime `json:"rotatedAt,omitempty"`
	IdleUntil  *metav1.MicroTime `json:"idleUntil,omitempty"`
	EndedAt    *metav1.MicroTime `json:"endedAt,omitempty"`
	EndReason  string            `json:"endReason,omitempty"`
}

// stateOf is the whole state.
func stateOf(state session.State) partialState {
	generation := int64(state.Generation) //nolint:gosec // At most session.MaxGeneration + 1; the schema refuses what is less than 0.
	whole := endOf(state)
	whole.Generation, whole.RotatedAt, whole.IdleUntil = &generation, micro(state.RotatedAt), micro(state.IdleUntil)
	return whole
}

// endOf is the end, and nothing else.
func endOf(state session.State) partialState {
	if state.EndedAt.IsZero() {
		return partialState{}
	}
	return partialState{EndedAt: micro(state.EndedAt), EndReason: string(state.EndReason)}
}

func micro(t time.Time) *metav1.MicroTime { return &metav1.MicroTime{Time: t.UTC()} }

// newObject renders a new session.
func newObject(s *session.Session) (*unstructured.Unstructured, error) {
	labels := map[string]string{v1alpha1.LabelIssuer: s.Issuer.Name, v1alpha1.LabelSubject: SubjectLabel(s.Subject)}
	if !s.EndedAt.IsZero() {
		labels[v1alpha1.LabelEnded] = string(s.EndReason)
	}
	state := stateOf(s.State)
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1alpha1.Session{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Issuer.Namespace, Name: s.ID.String(), Labels: labels, Finalizers: []string{v1alpha1.FinalizerSession},
		},
		Spec: v1alpha1.SessionSpec{
			IssuerRef: v1alpha1.IssuerReference{Name: s.Issuer.Name},
			IssuerURL: s.IssuerURL, Subject: s.Subject, ClientID: s.ClientID, Scopes: s.Scopes, Audiences: s.Audiences,
			Claims: s.Claims, Source: v1alpha1.SessionSource(s.Source), Salt: base64.RawURLEncoding.EncodeToString(s.Salt[:]),
			CreatedAt: metav1.NewTime(s.CreatedAt.UTC()), ExpiresAt: metav1.NewTime(s.ExpiresAt.UTC()),
		},
		State: v1alpha1.SessionState{
			Generation: *state.Generation, RotatedAt: *state.RotatedAt, IdleUntil: *state.IdleUntil,
			EndedAt: state.EndedAt, EndReason: state.EndReason,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("rendering the Session: %w", err)
	}
	object := NewObject()
	gvk := object.GroupVersionKind()
	object.Object = content
	object.SetGroupVersionKind(gvk)
	return object, nil
}

// Read returns the session in an object, also of one that is being deleted. Every error is an ErrUnreadable.
func Read(object *unstructured.Unstructured) (*session.Session, error) {
	var typed v1alpha1.Session
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &typed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	id, err := session.ParseID(typed.Name)
	if err != nil {
		return nil, fmt.Errorf("%w: its name: %w", ErrUnreadable, err)
	}
	spec, state := &typed.Spec, &typed.State
	read := &session.Session{
		Facts: session.Facts{
			ID: id, Issuer: session.IssuerReference{Namespace: typed.Namespace, Name: spec.IssuerRef.Name},
			IssuerURL: spec.IssuerURL, Subject: spec.Subject, ClientID: spec.ClientID,
			Scopes: spec.Scopes, Audiences: spec.Audiences, Claims: spec.Claims, Source: session.Source(spec.Source),
			CreatedAt: spec.CreatedAt.UTC(), ExpiresAt: spec.ExpiresAt.UTC(),
		},
		State: session.State{
			Generation: uint64(state.Generation), //nolint:gosec // Checked below.
			RotatedAt:  state.RotatedAt.UTC(), IdleUntil: state.IdleUntil.UTC(),
		},
		Version: typed.ResourceVersion,
	}
	salt, err := base64.RawURLEncoding.Strict().DecodeString(spec.Salt)
	if err != nil || len(salt) != len(read.Salt) {
		return nil, fmt.Errorf("%w: its salt is not %d bytes in base64url", ErrUnreadable, len(read.Salt))
	}
	copy(read.Salt[:], salt)
	if state.Generation < 0 {
		return nil, fmt.Errorf("%w: its generation is negative", ErrUnreadable)
	}
	if (state.EndedAt == nil) != (state.EndReason == "") {
		return nil, fmt.Errorf("%w: it has a time or a reason of its end, and not both", ErrUnreadable)
	}
	if state.EndedAt != nil {
		read.EndedAt, read.EndReason = state.EndedAt.UTC(), session.EndReason(state.EndReason)
	}
	return read, nil
}
