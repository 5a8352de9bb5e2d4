package servingcert

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	certutil "k8s.io/client-go/util/cert"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

const (
	// caKey is where clients look for what to trust, by the custom of kubernetes.io/tls Secrets.
	caKey = "ca.crt"
	// authoritiesKey holds the document with the authorities and their keys.
	authoritiesKey = "authorities.json"
	// authoritiesSuffix makes the name of the Secret with the authorities.
	authoritiesSuffix = "-ca"
)

// ErrConflict is returned when an object has the name and is somebody else's. It is not touched.
var ErrConflict = errors.New("the object exists and is not the operator's")

// errLostRace is returned when another replica has written first.
var errLostRace = errors.New("another replica has written first")

// rightsHint ends an error of the API server.
const rightsHint = "if it is forbidden, give the operator the Role of config/rbac/serving_certificate_role.yaml in " +
	"that namespace"

// secrets reads and writes the two Secrets.
type secrets struct {
	client          corev1client.SecretInterface
	namespace, name string
}

// found is what was read. A Secret is nil where there is none.
type found struct {
	authorities, serving *corev1.Secret
	bundle               Bundle
	// damage is what could not be read of a Secret that is ours. Plan replaces it.
	damage error
}

// read reads the authorities first. What ca.crt has and the authorities lack was written in between then, and adopting
// it fails for the authorities having changed.
func (s *secrets) read(ctx context.Context) (*found, error) {
	var f found
	var err error
	if f.authorities, err = s.get(ctx, s.authorities()); err != nil {
		return nil, err
	}
	if f.serving, err = s.get(ctx, s.serving()); err != nil {
		return nil, err
	}
	if f.authorities != nil {
		f.bundle.Authorities, f.damage = decodeAuthorities(f.authorities.Data[authoritiesKey])
		if errors.Is(f.damage, ErrNewer) {
			return nil, fmt.Errorf("reading Secret %s: %w", s.path(f.authorities.Name), f.damage)
		}
	}
	if f.serving != nil {
		f.bundle.Trusted = parseCertificates(f.serving.Data[caKey])
		leaf, err := parseLeaf(f.serving.Data[corev1.TLSCertKey], f.serving.Data[corev1.TLSPrivateKeyKey])
		f.bundle.Leaf, f.damage = leaf, errors.Join(f.damage, err)
	}
	return &f, nil
}

// get reads a Secret that must be like this one. It returns nil if there is none.
func (s *secrets) get(ctx context.Context, like *corev1.Secret) (*corev1.Secret, error) {
	secret, err := s.client.Get(ctx, like.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w; %s", s.path(like.Name), err, rightsHint)
	}
	if secret.Labels[v1alpha1.LabelComponent] != like.Labels[v1alpha1.LabelComponent] || secret.Type != like.Type {
		return nil, fmt.Errorf("%w: Secret %s; delete or rename it, choose another name with --tls-secret, or, if it was restored "+
			"by hand, give it back its type %s and its label %s=%s", ErrConflict, s.path(like.Name), like.Type,
			v1alpha1.LabelComponent, like.Labels[v1alpha1.LabelComponent])
	}
	return secret, nil
}

// writeAuthorities writes the authorities unless somebody has written them since they were read.
func (s *secrets) writeAuthorities(ctx context.Context, before *found, bundle Bundle) error {
	document, err := encodeAuthorities(bundle.Authorities)
	if err != nil {
		return err
	}
	return s.write(ctx, before.authorities, s.authorities(), map[string][]byte{authoritiesKey: document})
}

// writeServing writes the Secret that is there to be mounted, unless somebody has written it since it was read.
func (s *secrets) writeServing(ctx context.Context, before *found, bundle Bundle) error {
	trusted, err := certutil.EncodeCertificates(bundle.Trusted...)
	if err != nil {
		return fmt.Errorf("encoding %d authorities: %w", len(bundle.Trusted), err)
	}
	return s.write(ctx, before.serving, s.serving(), map[string][]byte{
		corev1.TLSCertKey: bundle.Leaf.certificate, corev1.TLSPrivateKeyKey: bundle.Leaf.key, caKey: trusted,
	})
}

// write creates the Secret, or puts the data into the one that was read. Whatever else is in that stays.
func (s *secrets) write(ctx context.Context, before, secret *corev1.Secret, data map[string][]byte) error {
	var err error
	if before == nil {
		secret.Data = data
		_, err = s.client.Create(ctx, secret, metav1.CreateOptions{})
	} else {
		secret = before.DeepCopy()
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		for key, value := range data {
			secret.Data[key] = bytes.Clone(value)
		}
		_, err = s.client.Update(ctx, secret, metav1.UpdateOptions{})
	}
	switch {
	case err == nil:
		return nil
	case before == nil && apierrors.IsAlreadyExists(err), before != nil && apierrors.IsNotFound(err),
		apierrors.IsConflict(err):
		return fmt.Errorf("writing Secret %s: %w", s.path(secret.Name), errLostRace)
	}
	return fmt.Errorf("writing Secret %s: %w; %s", s.path(secret.Name), err, rightsHint)
}

// authorities is the Secret with the authorities while it is empty.
func (s *secrets) authorities() *corev1.Secret {
	return s.empty(s.name+authoritiesSuffix, v1alpha1.ComponentServingAuthorities, v1alpha1.SecretTypeServingAuthorities)
}

// serving is the Secret with the serving certificate while it is empty.
func (s *secrets) serving() *corev1.Secret {
	return s.empty(s.name, v1alpha1.ComponentServingCertificate, corev1.SecretTypeTLS)
}

func (s *secrets) empty(name, component string, of corev1.SecretType) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.namespace, Name: name, Labels: map[string]string{v1alpha1.LabelComponent: component},
		},
		Type: of,
	}
}

func (s *secrets) path(name string) string { return s.namespace + "/" + name }
