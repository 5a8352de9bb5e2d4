// Package v1alpha1 holds the keyturn.dev/v1alpha1 API: TokenIssuer, TokenRevocation and Session.
//
// +kubebuilder:object:generate=true
// +groupName=keyturn.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the API group and version of every type in this package.
	GroupVersion = schema.GroupVersion{Group: "keyturn.dev", Version: "v1alpha1"}

	// SchemeBuilder collects the functions that add this package's types to a scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the types of this package to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&TokenIssuer{}, &TokenIssuerList{},
		&TokenRevocation{}, &TokenRevocationList{},
		&Session{}, &SessionList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
