"""An example of a plugin."""

from pydantic import BaseModel, Field


class Greeting:
    """Greets clients, and tells the backend their language."""

    name = "greeting"
    counters = {"greeted": "Responses with a greeting."}

    class Settings(BaseModel):
        word: str = Field("hello", description="The greeting.")

    def setup(self, context):
        self.context = context

    def process_request(self, request):
        language = request.headers.get("accept-language", "en").partition(",")[0]
        request.headers["X-Language"] = language

    def process_response(self, request, response):
        self.context.count("greeted")
        response.headers["X-Greeting"] = self.context.settings.word
