package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// The clients, by the name of their pods.
const (
	minter   = "mint"
	verifier = "verify"
	revoker  = "revoke"
	breaker  = "fault"

	mintURL = "http://" + minter + "." + shopNamespace + ".svc:8080"
	// authorities is the ConfigMap with Keyturn's authority, in the namespace of the gateway.
	authorities   = "keyturn-ca"
	authorityPath = "/etc/keyturn/ca.crt"
)

// startMinter starts the workload that has mounted the signing keys.
func (s *suite) startMinter(t *testing.T) {
	t.Helper()
	pod := clientPod(shopNamespace, minter, "-audience="+audience)
	for _, issuer := range []string{brisk, steady} {
		folder := "/var/run/keyturn/" + issuer
		mount(pod, issuer, folder, corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: issuer + "-signing-key"}})
		pod.Spec.Containers[0].Args = append(pod.Spec.Containers[0].Args, "-key="+shopNamespace+"/"+issuer+"="+folder)
	}
	s.create(t, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: shopNamespace, Name: minter}, Spec: corev1.ServiceSpec{
		Selector: pod.Labels, Ports: []corev1.ServicePort{{Port: 8080}},
	}})
	s.create(t, pod)
}

// startVerifier starts the gateway.
func (s *suite) startVerifier(t *testing.T) {
	t.Helper()
	pod := clientPod(gatewayNamespace, verifier, "-keyturn="+serviceURL, "-ca="+authorityPath, "-mint="+mintURL,
		"-audience="+audience, "-leeway="+clockSkew.String(),
		"-issuer="+shopNamespace+"/"+brisk, "-issuer="+shopNamespace+"/"+steady)
	mountAuthorities(pod)
	s.create(t, pod)
}

// startRevoker starts who may create TokenRevocations in the namespace of the issuers, and nothing else.
func (s *suite) startRevoker(t *testing.T) {
	t.Helper()
	s.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: gatewayNamespace, Name: revoker}})
	in := metav1.ObjectMeta{Namespace: shopNamespace, Name: revoker}
	s.create(t, &rbacv1.Role{ObjectMeta: in, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"tokenrevocations"}, Verbs: []string{"create"},
	}}})
	s.create(t, &rbacv1.RoleBinding{ObjectMeta: in, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: revoker},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: gatewayNamespace, Name: revoker}}})
	pod := clientPod(gatewayNamespace, revoker, "-keyturn="+serviceURL, "-ca="+authorityPath, "-mint="+mintURL)
	pod.Spec.ServiceAccountName, pod.Spec.AutomountServiceAccountToken = revoker, nil
	mountAuthorities(pod)
	s.create(t, pod)
	s.awaitReady(t, pod)
}

// startBreaker starts who sends signals to processes of one node. It sees all of them, and is root with one capability.
func (s *suite) startBreaker(t *testing.T, node string) *corev1.Pod {
	t.Helper()
	s.allowWatchingRings(t)
	pod := clientPod(faultNamespace, breaker)
	pod.Spec.ServiceAccountName, pod.Spec.AutomountServiceAccountToken = breaker, nil
	pod.GenerateName, pod.Name = breaker+"-", ""
	pod.Spec.NodeName, pod.Spec.HostPID = node, true
	pod.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](0), RunAsNonRoot: ptr.To(false)}
	pod.Spec.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"KILL"}
	s.create(t, pod)
	s.awaitReady(t, pod)
	return pod
}

// allowWatchingRings lets who breaks the cluster see when a ring changes.
func (s *suite) allowWatchingRings(t *testing.T) {
	t.Helper()
	in := metav1.ObjectMeta{Namespace: shopNamespace, Name: breaker}
	for _, object := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: faultNamespace, Name: breaker}},
		&rbacv1.Role{ObjectMeta: in, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "watch"},
		}}},
		&rbacv1.RoleBinding{ObjectMeta: in, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: breaker},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: faultNamespace, Name: breaker}}},
	} {
		if err := client.IgnoreAlreadyExists(s.api.Create(t.Context(), object)); err != nil {
			t.Fatalf("creating %T %s/%s: %v", object, object.GetNamespace(), object.GetName(), err)
		}
	}
}

// clientPod is a pod of the suite's client in one role, as the restricted Pod Security Standard wants it.
func clientPod(namespace, role string, arguments ...string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role, Labels: map[string]string{"app.kubernetes.io/name": "keyturn-e2e-" + role}},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken:  ptr.To(false),
			TerminationGracePeriodSeconds: ptr.To[int64](5),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "client", Image: *clientImage, ImagePullPolicy: corev1.PullIfNotPresent, Args: append([]string{role}, arguments...),
				ReadinessProbe: &corev1.Probe{
					ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}},
					PeriodSeconds: 1,
				},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

func mount(pod *corev1.Pod, name, folder string, source corev1.VolumeSource) {
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source})
	container := &pod.Spec.Containers[0]
	container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: folder, ReadOnly: true})
}

func mountAuthorities(pod *corev1.Pod) {
	mount(pod, authorities, "/etc/keyturn", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: authorities},
	}})
}

func (s *suite) awaitReady(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	await(t, fmt.Sprintf("the pod %s/%s to be ready", pod.Namespace, pod.Name), long, func(ctx context.Context) error {
		if err := s.api.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if !ready(pod) {
			return fmt.Errorf("it is %s", state(pod))
		}
		return nil
	})
}

// ask sends a request to a client through the API server, and reads the answer.
func (s *suite) ask(ctx context.Context, method, namespace, pod, path string, query url.Values, body, answer any) error {
	request := s.kube.CoreV1().RESTClient().Verb(method).Namespace(namespace).Resource("pods").Name("http:" + pod + ":8080").
		SubResource("proxy").Suffix(path)
	for name, values := range query {
		for _, value := range values {
			request = request.Param(name, value)
		}
	}
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		request = request.Body(encoded)
	}
	raw, err := request.Do(ctx).Raw()
	if err != nil {
		return fmt.Errorf("asking %s/%s for %s: %w: %s", namespace, pod, path, err, raw)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("reading what %s/%s answers to %s: %w", namespace, pod, path, err)
	}
	return nil
}
