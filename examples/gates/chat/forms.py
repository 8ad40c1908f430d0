"""What people may write. The page's form and the WebSocket are checked by the same rules."""

from __future__ import annotations

import uuid

from django import forms
from django.contrib.auth import get_user_model

from chat.models import MESSAGE_LENGTH, Room


class MessageForm(forms.Form):
    text = forms.CharField(
        label="Message",
        max_length=MESSAGE_LENGTH,
        widget=forms.TextInput(
            attrs={
                "autocomplete": "off",
                "enterkeyhint": "send",
                "placeholder": "Say something",
            }
        ),
    )
    nonce = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)

    def clean_text(self) -> str:
        """JSON may bring half of a surrogate pair, which no database takes."""
        return self.cleaned_data["text"].encode(errors="replace").decode()


class RoomForm(forms.ModelForm):
    class Meta:
        model = Room
        fields = ["name", "about", "private", "members"]
        widgets = {"members": forms.CheckboxSelectMultiple}
        help_texts = {"members": "They find a private room in their list; you always do."}

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, label_suffix="", **kwargs)
        self.fields["members"].queryset = get_user_model().objects.filter(is_active=True)


class NotificationForm(forms.Form):
    text = forms.CharField(label="What to tell them", max_length=200)
