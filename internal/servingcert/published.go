package servingcert

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// published is the ConfigMap that says what to trust, for all who must not read the Secret with the key: gateways mount
// it, and a BackendTLSPolicy refers to it. It is derived from the Secret, and nothing depends on it here.
type published struct {
	client          corev1client.ConfigMapInterface
	namespace, name string
}

// publish writes what to trust unless the ConfigMap already says so.
func (p *published) publish(ctx context.Context, trusted []byte, writes flowcontrol.PassiveRateLimiter) error {
	path := p.namespace + "/" + p.name
	before, err := p.client.Get(ctx, p.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		before = nil
	} else if err != nil {
		return fmt.Errorf("reading ConfigMap %s: %w; %s", path, err, rightsHint)
	}
	if before != nil && before.Labels[v1alpha1.LabelComponent] != v1alpha1.ComponentServingCertificate {
		return fmt.Errorf("%w: ConfigMap %s; delete or rename it, or, if it was restored by hand, give it back its label "+
			"%s=%s", ErrConflict, path, v1alpha1.LabelComponent, v1alpha1.ComponentServingCertificate)
	}
	if before != nil && before.Data[caKey] == string(trusted) {
		return nil
	}
	if !writes.TryAccept() {
		return fmt.Errorf("ConfigMap %s has changed too often; see whether another program writes it", path)
	}
	return p.write(ctx, before, string(trusted))
}

func (p *published) write(ctx context.Context, before *corev1.ConfigMap, trusted string) error {
	var err error
	if before == nil {
		_, err = p.client.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: p.namespace, Name: p.name,
				Labels: map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentServingCertificate},
			},
			Data: map[string]string{caKey: trusted},
		}, metav1.CreateOptions{})
	} else {
		after := before.DeepCopy()
		if after.Data == nil {
			after.Data = map[string]string{}
		}
		after.Data[caKey] = trusted
		_, err = p.client.Update(ctx, after, metav1.UpdateOptions{})
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || before != nil && apierrors.IsNotFound(err) {
		return fmt.Errorf("writing ConfigMap %s/%s: %w", p.namespace, p.name, errLostRace)
	}
	if err != nil {
		return fmt.Errorf("writing ConfigMap %s/%s: %w; %s", p.namespace, p.name, err, rightsHint)
	}
	return nil
}
