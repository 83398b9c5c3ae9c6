"""Files of a project: downloads."""

from litestar import get
from litestar.params import FromPath
from litestar.response import Stream

from admin.console.api import path_of
from admin.console.page import CurrentPage
from admin.console.streaming import passed_on


@get("/projects/{project_id:str}/files/{file_id:str}/download")
async def download_file(page: CurrentPage, file_id: FromPath[str]) -> Stream:
    """Streamed: of a file of gigabytes some pieces are in memory."""
    file = await page.api.get(path_of("files", file_id))
    answer = await passed_on(page.api, path_of("files", file_id, "content"))
    name = file["filename"].replace("\\", "_").replace('"', "_").encode("ascii", "replace").decode().replace("?", "_")
    answer.headers["content-disposition"] = f'attachment; filename="{name}"'
    return answer
