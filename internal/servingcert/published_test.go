package servingcert

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/keyturn/keyturn/internal/testenv"
)

// configMaps reads and writes the ConfigMaps of the test's namespace with all rights.
func (w *world) configMaps() corev1client.ConfigMapInterface {
	w.Helper()
	return corev1client.NewForConfigOrDie(testenv.Environment(w.T).Config).ConfigMaps(w.namespace)
}

// published is an error unless the ConfigMap says what the Secret says, and nothing else.
func (w *world) published() error {
	published, err := w.configMaps().Get(w.Context(), secretName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	secret := w.secret(secretName)
	if secret == nil || published.Data[caKey] != string(secret.Data[caKey]) || len(published.Data) != 1 {
		return fmt.Errorf("the ConfigMap has %v, want ca.crt of the Secret alone", published.Data)
	}
	return nil
}

// Whoever must not read the key finds what to trust in a ConfigMap: also after each rotation of the authorities, after
// somebody has edited it, and after it was lost.
func TestPublished(t *testing.T) {
	w := newWorld(t)
	first, second := w.keep(hosts, nil), w.keep(hosts, nil)
	w.settled(first, second)
	w.eventually("published", w.published)
	before, err := w.configMaps().Get(t.Context(), secretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}

	w.edit(secretName+authoritiesSuffix, func(secret *corev1.Secret) { clear(secret.Data) }) // so a new authority is made
	w.eventually("another authority published", func() error {
		now, err := w.configMaps().Get(t.Context(), secretName, metav1.GetOptions{})
		if err == nil && now.Data[caKey] == before.Data[caKey] {
			err = errors.New("the authorities are the same")
		}
		return errors.Join(err, w.published())
	})

	edited := before.DeepCopy()
	edited.ResourceVersion, edited.Data[caKey] = "", "nonsense"
	if _, err := w.configMaps().Update(t.Context(), edited, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("published again after an edit", w.published)
	if err := w.configMaps().Delete(t.Context(), secretName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("published again after it was lost", w.published)
}

// A ConfigMap of the name that is somebody else's is left alone, and keeps nobody from serving.
func TestSomebodyElsesConfigMap(t *testing.T) {
	w := newWorld(t)
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: secretName}, Data: map[string]string{"a": "b"}}
	if _, err := w.configMaps().Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	k := w.keep(hosts, nil)
	w.settled(k)
	w.eventually("the conflict", func() error {
		if problem := k.problem.Load(); problem == nil || !errors.Is(*problem, ErrConflict) {
			return fmt.Errorf("the problem is %v", problem)
		}
		return nil
	})
	now, err := w.configMaps().Get(t.Context(), secretName, metav1.GetOptions{})
	if err != nil || len(now.Data) != 1 || now.Data["a"] != "b" {
		t.Errorf("it has %v now, error %v", now.Data, err)
	}
	// Once it is out of the way, ours is there.
	if err := w.configMaps().Delete(t.Context(), secretName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("published", w.published)
}
